"""The plan as a table for the terminal."""

from collections.abc import Collection, Sequence

from lora_jax.layout import draw, fill
from lora_jax.percent import percent
from lora_jax.runs.experiment import Experiment
from lora_jax.runs.machine import ASSUMED_UTILISATION, is_timed, present_device
from lora_jax.runs.plan import PlannedRun, plan_runs
from lora_jax.runs.plan_optimizer import format_optimizers
from lora_jax.runs.rate_rules import explain_rules
from lora_jax.target import find_device, name_device
from lora_jax.training.device_memory import ALONE, Split


def print_plan(
    experiment: Experiment, finished: Collection[str], device: str | None = None, split: Split = ALONE
) -> list[PlannedRun]:
    """Price an experiment's runs, print them as a table, and return them.

    Args:
        experiment: The experiment.
        finished: Ids of finished runs.
        device: A name of target.DEVICES. By default the experiment's own DEVICE, and without one the present
            machine.
        split: How several such devices share a step. Memory is then that of one of them.
    """
    asked = device or experiment.device
    name = name_device(asked) if asked else None
    found = find_device(name) if name else present_device()
    planned = plan_runs(experiment.runs, finished, found, split)
    if found is None:
        basis = "this machine's matmuls at these shapes, timed just now"
        n_counted = sum(not is_timed(run) for run in experiment.runs)
        if n_counted:
            basis += f"; {n_counted} runs of large steps by its speed on a typical shape"
    else:
        which = name or "the present device"
        basis = f"{percent(ASSUMED_UTILISATION)} of the peak of {which}"
        if split.n_devices > 1:
            basis += f", as if one did it all; memory is of one of {split.n_devices} that share it"
    print(format_plan(planned, basis))
    return planned


def format_plan(planned: Sequence[PlannedRun], basis: str) -> str:
    """Return every run with N, D, FLOPs, estimated seconds and memory, and the total, as text.

    Args:
        planned: The runs.
        basis: What the estimates rest on, in words. It stands under the table.
    """
    columns = (
        "run",
        "N",
        "N + head",
        "D",
        "FLOPs",
        "own steps",
        "seconds",
        "memory",
        "peak rate",
    )
    rows = [
        (
            item.run_id,
            f"{item.n_params:,}",
            f"{item.n_params_with_head:,}",
            f"{item.run.n_tokens:,}",
            f"{item.flops:.2e}",
            f"{item.own_steps:,}",
            "done" if item.finished else f"{item.seconds:,.1f}",
            format_bytes(item.memory_bytes),
            f"{item.learning_rate:.3g}",
        )
        for item in planned
    ]
    table = draw(columns, rows, set(range(1, len(columns))))
    lines = (
        _total(planned),
        *_policies(planned),
        _rule(planned),
        *explain_rules(planned),
        f"Estimates: {basis}",
    )
    told = map(fill, lines)
    return "\n".join([*table, "", *told, *format_optimizers([item.run for item in planned])])


def _policies(planned: Sequence[PlannedRun]) -> list[str]:
    """Say of every shape what remat "fit" is. The trace of one lane chooses it, as if alone."""
    trunks: dict[str, set[str]] = {}
    for item in planned:
        if item.remat:
            trunks.setdefault(f"{item.shape}: {item.remat}", set()).add(item.trunk_id)
    beside = " This is of one run alone: of several side by side, each lane needs as much."
    return [told + (beside if len(names) > 1 else "") for told, names in trunks.items()]


def _rule(planned: Sequence[PlannedRun]) -> str:
    """Say how the rates that are used follow from those of the configs."""
    bases = sorted({item.run.optim.learning_rate for item in planned})
    powers = sorted({item.run.optim.lr_size_exponent for item in planned})
    base = f"{bases[0]:g}" if len(bases) == 1 else f"{bases[0]:g} to {bases[-1]:g}"
    power = " or ".join(f"{x:g}" for x in powers)
    return (
        f"Peak rate: the rate that is used. It is optim.learning_rate ({base}) times (100,000 / N)^{power}."
        " The exponent is optim.lr_size_exponent; 0 gives every N the same rate."
    )


def _total(planned: Sequence[PlannedRun]) -> str:
    pending = [item for item in planned if not item.finished]
    seconds = sum(item.seconds for item in pending)
    flops = sum(item.flops for item in planned)
    peak = max(item.memory_bytes for item in planned)
    n = "1 run" if len(planned) == 1 else f"{len(planned)} runs"
    return (
        f"{n}, {len(planned) - len(pending)} finished. {flops:.2e} FLOPs if each were trained alone."
        f" About {format_seconds(seconds)} to go. A step takes at most {format_bytes(peak)}."
    )


def format_seconds(seconds: float) -> str:
    """Return a time as seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def format_bytes(n_bytes: float) -> str:
    """Return a size as MB or GB."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
