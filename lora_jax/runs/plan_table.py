"""The plan as a table for the terminal."""

from collections.abc import Collection, Sequence

from lora_jax.runs.experiment import Experiment
from lora_jax.runs.machine import ASSUMED_UTILISATION, find_device, present_device
from lora_jax.runs.plan import PlannedRun, plan_runs


def print_plan(
    experiment: Experiment, finished: Collection[str], device: str | None = None
) -> list[PlannedRun]:
    """Price an experiment's runs, print them as a table, and return them.

    device: a name of machine.DEVICES; None: the experiment's own DEVICE, else the present machine.
    """
    name = device or experiment.device
    found = find_device(name) if name else present_device()
    planned = plan_runs(experiment.runs, finished, found)
    if found is None:
        basis = "this machine's matmuls at these shapes, timed just now"
    else:
        basis = f"{ASSUMED_UTILISATION:.0%} of the peak of {name or 'the present device'}"
    print(format_plan(planned, basis))
    return planned


def format_plan(planned: Sequence[PlannedRun], basis: str) -> str:
    """Return every run with N, D, FLOPs, estimated seconds and memory, and the total, as text.

    basis: what the estimates rest on, said under the table.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for title in ("run", "N", "N + head", "D", "FLOPs", "own steps", "seconds", "memory"):
        table.add_column(title, justify="left" if title == "run" else "right")
    for item in planned:
        seconds = "done" if item.finished else f"{item.seconds:,.1f}"
        table.add_row(
            item.run_id, f"{item.n_params:,}", f"{item.n_params_with_head:,}", f"{item.run.n_tokens:,}",
            f"{item.flops:.2e}", f"{item.own_steps:,}", seconds, format_bytes(item.memory_bytes),
        )  # fmt: skip
    console = Console(width=150)
    with console.capture() as captured:
        console.print(table)
    return captured.get() + _total(planned) + f"\nEstimates: {basis}"


def _total(planned: Sequence[PlannedRun]) -> str:
    pending = [item for item in planned if not item.finished]
    seconds = sum(item.seconds for item in pending)
    flops = sum(item.flops for item in planned)
    peak = max(item.memory_bytes for item in planned)
    n = "1 run" if len(planned) == 1 else f"{len(planned)} runs"
    return (
        f"{n}, {len(planned) - len(pending)} finished; {flops:.2e} FLOPs if each were trained alone;"
        f" about {format_seconds(seconds)} to go; at most {format_bytes(peak)} a step."
    )


def format_seconds(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def format_bytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
