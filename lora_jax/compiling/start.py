"""Compile in a process of its own, and read its answers as a report."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from lora_jax.compiling.results import CompiledStep, CompileReport
from lora_jax.compiling.topology import environment, require_compiler
from lora_jax.compiling.worker import ERROR, HEADER, STEP
from lora_jax.documents import from_document
from lora_jax.errors import LoraJaxError
from lora_jax.target import Target

WORDS = 300  # most characters of a compiler's message that we show


def compile_config(
    config: Path,
    overrides: Sequence[str],
    target: Target,
    mesh: str | None = None,
    take: Callable[[CompiledStep], None] = lambda step: None,
) -> CompileReport:
    """Compile every different step of a config for a target that need not be here.

    Args:
        config: The config file.
        overrides: Fields to set in every run, such as "d_model=64".
        target: What to compile for.
        mesh: Sizes of the axes, such as "data=2,fsdp=4". None puts all devices on fsdp.
        take: Called with each step when it is done.

    Raises:
        LoraJaxError: The config, the target or the mesh is wrong, or this machine has too little memory.
        ModuleNotFoundError: A package that compiles for the target is missing.
    """
    require_compiler(target)
    command = [sys.executable, "-m", "lora_jax.compiling.worker", str(config), *overrides]
    command += ["--target", target.name, *(["--mesh", mesh] if mesh is not None else [])]
    steps: list[CompiledStep] = []
    header: dict[str, Any] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        for message in _talk(command, log, lambda: f"compiling step {len(steps) + 1} for {target.name}"):
            if ERROR in message:
                raise LoraJaxError(message[ERROR])
            header = message.get(HEADER, header)
            if STEP in message:
                steps.append(from_document(CompiledStep, message[STEP]))
                take(steps[-1])
    return CompileReport(config.stem, target.name, header["mesh"], header["jax_version"], tuple(steps))


def explain_end(status: int, log: str, doing: str) -> str:
    """Say why a process that compiles has ended.

    Args:
        status: Its exit status.
        log: What it printed on standard error.
        doing: What it was doing, such as "compiling step 1 for h100-80gb:1".
    """
    if status == -signal.SIGKILL or "bad_alloc" in log or "MemoryError" in log:
        return (
            f"{doing} needs more memory than this machine has, and was ended: free some, or compile fewer"
            " layers (n_layers=2), which need less."
        )
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    last = lines[-1][:WORDS] if lines else "it printed nothing"
    return f"{doing} failed with status {status} ({last}): compile for another target, or report this."


def _talk(command: Sequence[str], log: IO[str], say: Callable[[], str]) -> Iterator[dict[str, Any]]:
    """Yield the documents that a process prints.

    Args:
        command: The command of the process.
        log: Takes its standard error.
        say: Says what the process is doing, for the error.

    Raises:
        LoraJaxError: The process failed.
    """
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout is not None
            yield from map(_read, process.stdout)
            status = process.wait()
        finally:
            process.kill()
    if status != 0:
        log.seek(0)
        raise LoraJaxError(explain_end(status, log.read(), say()))


def _read(line: str) -> dict[str, Any]:
    """Parse a line of the worker's output. A line that a library prints gives nothing."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
