"""How long the `lora-jax` command and the package take to be there."""

import subprocess
import sys
from functools import partial

from benchmarks.figures import Figure, Row, Section
from lora_jax.timing import Say, interleave

SECONDS_AT_MOST = 1.0  # of `lora-jax --help`
HELP, IMPORT, PYTHON = "lora-jax --help", "import lora_jax", "python alone"
ARGUMENTS = {HELP: ["-m", "lora_jax.cli", "--help"], IMPORT: ["-c", "import lora_jax"], PYTHON: ["-c", ""]}


def measure_startup(repeats: int, say: Say) -> Section:
    """Time fresh processes in turns, from their start to their end."""
    say(f"startup: {repeats} rounds of {len(ARGUMENTS)} processes")
    seconds = interleave({name: partial(_run, arguments) for name, arguments in ARGUMENTS.items()}, repeats)
    rows = []
    for name, samples in seconds.items():
        beyond = [1e3 * (s - alone) for s, alone in zip(samples, seconds[PYTHON], strict=True)]
        wall = Figure("wall time", "s", tuple(samples), SECONDS_AT_MOST if name == HELP else None)
        figures = (wall,) if name == PYTHON else (wall, Figure("beyond python alone", "ms", tuple(beyond)))
        rows.append(Row(name, {"arguments": ARGUMENTS[name]}, figures))
    return Section("startup", "Start of a fresh process", tuple(rows))


def _run(arguments: list[str]) -> None:
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
