"""What `--slurm` asks for, beside what the command trains."""

import argparse

import pytest

from lora_jax.cli import _build_parser
from lora_jax.cluster.slurm_options import read_slurm
from lora_jax.commands.work import COMMANDS
from lora_jax.commands.working import check_nodes
from lora_jax.errors import LoraJaxError


@pytest.mark.parametrize(
    ("asked", "mesh"),
    [("gpus=4", None), ("gpus=4", "fsdp=4"), ("nodes=2,gpus=4", "data=2,fsdp=4"), ("nodes=2", "data=2")],
)
def test_devices_that_a_mesh_uses_are_asked_for(asked: str, mesh: str | None) -> None:
    check_nodes(read_slurm(f"hours=1,{asked}"), mesh)


@pytest.mark.parametrize(
    ("asked", "mesh", "words"),
    [
        ("nodes=2,gpus=4", None, "which only a run that is split over them uses: add --mesh"),
        ("nodes=2,gpus=4", "fsdp=4", "is of 4 devices and --slurm nodes=2,gpus=4 gives 8"),
        ("gpus=a100:2", "fsdp=4", "is of 4 devices and --slurm nodes=1,gpus=a100:2 gives 2"),
    ],
)
def test_devices_that_no_run_would_use_are_refused(asked: str, mesh: str | None, words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        check_nodes(read_slurm(f"hours=1,{asked}"), mesh)


def test_every_command_that_starts_workers_can_be_helped_with() -> None:
    """`lora-jax work` runs the command that started the sweep, so it has to know all of them."""
    parser = _build_parser()[0]
    [commands] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    started = {
        name
        for name, command in commands.choices.items()
        if any("--workers" in action.option_strings for action in command._actions)
    }
    assert started == set(COMMANDS)
