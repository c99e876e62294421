"""Tables of compiled steps for the terminal and for the docs."""

from collections.abc import Mapping, Sequence

from lora_jax.compiling.links import network_assumption
from lora_jax.compiling.results import Collective, CompiledStep, CompileReport, Memory, StepEstimate
from lora_jax.layout import draw, fill
from lora_jax.percent import percent

COLUMNS = (
    "step",
    "N",
    "runs",
    "FLOPs",
    "arguments",
    "temporaries",
    "peak",
    "limit",
    "attention",
    "estimate",
    "of peak",
)


def format_report(report: CompileReport) -> str:
    """Return the steps of a report as a table, what the devices send to each other, and the warnings."""
    rows = [format_row(step) for step in report.steps]
    lines = draw(COLUMNS, rows, set(range(1, len(COLUMNS))) - {8})
    lines += [
        "",
        fill(
            f"Compiled for {report.target}, mesh {report.mesh}, with JAX {report.jax_version}. Nothing ran."
        ),
    ]
    lines += [
        fill(
            "Memory is of one device. The time of a step is an estimate from the compiled program, not a"
            " measurement: docs/accelerators.md has its rule."
        )
    ]
    assumed = network_assumption(report.parsed_target)
    lines += [fill(assumed)] if assumed else []
    for step in report.steps:
        lines += [fill(f"{step.model}: {words}") for words in _remarks(step)]
    return "\n".join(lines)


def format_beside(report: CompileReport, predicted_bytes: Mapping[str, float]) -> str:
    """Return the compiled steps beside what the plan predicts for a device of the target.

    Args:
        report: The compiled steps.
        predicted_bytes: By run_id, the predicted memory of a run's step.
    """
    columns = ("step", "runs", "predicted", "compiled", "limit", "estimate of a step", "of peak")
    rows = [
        (
            step.model,
            str(len(step.run_ids)),
            f"{predicted_bytes[step.run_ids[0]] / 1e9:.2f} GB",
            *_memory_cells(step.memory)[2:],
            *_estimate_cells(step.estimate),
        )
        for step in report.steps
    ]
    told = (
        f"Compiled for {report.target}, mesh {report.mesh}, memory of one device. The estimate is no"
        " measurement (docs/accelerators.md)."
    )
    return "\n".join([*draw(columns, rows, set(range(1, len(columns)))), "", fill(told)])


def format_markdown(reports: Sequence[CompileReport]) -> str:
    """Return the steps of several targets as one table in Markdown."""
    names = (
        "target",
        "mesh",
        "step",
        "FLOPs",
        "memory of a device",
        "attention",
        "estimate",
        "of the peak",
        "received",
    )
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    for report in reports:
        mesh = ",".join(part for part in report.mesh.split(",") if not part.endswith("=1")) or "one device"
        n_hosts = report.parsed_target.n_hosts
        mesh += f", on {n_hosts} machines" if n_hosts > 1 else ""
        for step in report.steps:
            memory = step.memory
            held = (
                "does not fit"
                if memory is None
                else f"{memory.peak / 1e9:.2f} of {memory.limit / 1e9:.0f} GB"
            )
            attention = "fused" if step.fused_attention else "not fused"
            received = format_collectives(step.collectives) or "nothing"
            cells = (
                report.target,
                mesh,
                step.model,
                f"{step.flops:.2e}",
                held,
                attention if memory else "-",
                *_estimate_cells(step.estimate),
                received,
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def format_row(step: CompiledStep) -> tuple[str, ...]:
    """Return a step as a row of COLUMNS."""
    attention = "fused" if step.fused_attention else "not fused"
    return (
        step.model,
        f"{step.n_params:,}",
        str(len(step.run_ids)),
        f"{step.flops:.2e}",
        *_memory_cells(step.memory),
        attention if step.memory else "-",
        *_estimate_cells(step.estimate),
    )


def format_collectives(collectives: Sequence[Collective]) -> str:
    """Return what a device receives in a step, such as "all-gather 12 (1.20 GB), all-reduce 3 (0.01 GB)"."""
    return ", ".join(f"{one.kind} {one.count} ({one.received_bytes / 1e9:.2f} GB)" for one in collectives)


def format_milliseconds(seconds: float) -> str:
    """Return a time, such as "12.3 ms"."""
    return f"{1e3 * seconds:,.3g} ms" if seconds < 1 else f"{seconds:,.2f} s"


def format_span(least: float, most: float) -> str:
    """Return two times, such as "12.3 ms to 1.20 s", or one if they are written alike."""
    return " to ".join(dict.fromkeys((format_milliseconds(least), format_milliseconds(most))))


def _memory_cells(memory: Memory | None) -> tuple[str, ...]:
    if memory is None:
        return ("-", "-", "too much", "-")
    sizes = (memory.arguments, memory.temporaries, memory.peak, memory.limit)
    return tuple(f"{size / 1e9:.2f} GB" for size in sizes)


def _estimate_cells(estimate: StepEstimate | None) -> tuple[str, str]:
    if estimate is None:
        return ("-", "-")
    (least, most), (low, high) = estimate.bounds, estimate.utilisations
    return format_span(least, most), " to ".join(dict.fromkeys((percent(low), percent(high))))


def _remarks(step: CompiledStep) -> list[str]:
    found: list[str] = []
    if step.collectives:
        found.append(f"a device receives in a step: {format_collectives(step.collectives)}.")
        between = sum(one.network_bytes for one in step.collectives)
        if between:
            found.append(f"{between / 1e9:.2f} GB of this come from other machines.")
    estimate = step.estimate
    if estimate is not None and step.collectives:
        found.append(
            f"at full speed this takes {format_milliseconds(estimate.communication_seconds)}, beside"
            f" {format_milliseconds(estimate.seconds)} of computing. The estimate is from the larger of the"
            " two, where the program hides the smaller, to their sum, where it hides nothing."
        )
    if estimate is not None and estimate.unpriced_kernels:
        names = ", ".join(estimate.unpriced_kernels)
        found.append(
            f"of the kernels {names} only the bytes are in the estimate: we cannot read their FLOPs."
        )
    return [*found, *(f"warning: {words}" for words in step.warnings)]
