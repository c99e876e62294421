"""The command that made a results folder, for messages that ask for it again."""

from pathlib import Path

from lora_jax.digests import read_result


def command_of(folder: Path, usual: str) -> str:
    """Return the command in sweep.json of a folder, as it was typed. If there is none, return `usual`."""
    sweep = folder / "sweep.json"
    command = read_result(sweep).get("command") if sweep.exists() else None
    return command if isinstance(command, str) else usual
