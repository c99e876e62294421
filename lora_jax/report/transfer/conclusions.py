"""What a transfer report found, in sentences."""

from lora_jax.report.kit.numbers import format_count
from lora_jax.scaling.rates.results import Bowl, Drift, Series, TransferReport


def headline(report: TransferReport) -> str:
    """Return the answer in one line."""
    found = [drift for series in report.series for drift in series.drifts if drift.verdict is not None]
    if not found:
        return "These runs cannot tell whether the best learning rate moves."
    words = {
        "moves": "moves",
        "does not move": "does not move",
    }
    cases = "1 case" if len(found) == 1 else f"{len(found)} cases"
    said = [f"{words[v]} in {n}" for v in words if (n := sum(drift.verdict == v for drift in found))]
    undecided = sum(drift.verdict not in words for drift in found)
    if not said:
        return f"In none of {cases} can these runs tell whether the best learning rate moves."
    first, *others = said
    more = f" In {undecided} the runs cannot tell." if undecided else ""
    return f"The best learning rate {' and '.join([f'{first} of {cases}', *others])}.{more}"


def summarise(report: TransferReport) -> list[str]:
    """Return a sentence for each series and axis."""
    lines = []
    for series in report.series:
        name = f"{series.label[0].upper()}{series.label[1:]}"
        lines += [f"{name}, {say_drift(drift, report.tolerance)}" for drift in series.drifts]
        if not series.drifts:
            lines.append(f"{name}: there is one size, so there is no drift.")
    return lines


def say_drift(drift: Drift, tolerance: float) -> str:
    """Return what a drift says: "width: ..."."""
    with_others = f" (together with {' and '.join(drift.along)})" if drift.along else ""
    start = f"{drift.axis}{with_others}:"
    if drift.slope is None:
        return f"{start} {drift.missing}"
    times = drift.high / drift.low
    factor, low, high = (times**power for power in (drift.slope.value, *drift.slope.interval))
    reach = (
        f"from {format_count(drift.low)} to {format_count(drift.high)} the rate changes by a factor of"
        f" {factor:.2f} ({low:.2f} to {high:.2f})"
    )
    power = f"{drift.slope.value:.2f} ({drift.slope.low:.2f} to {drift.slope.high:.2f})"
    if drift.n_sizes == 2:
        power += " from two sizes only"
    if drift.verdict == "moves":
        return f"{start} the best rate moves. Its power is {power}: {reach}."
    if drift.verdict == "does not move":
        still = f"the best rate does not move by more than a power of {tolerance:g}"
        return f"{start} {still}. Its power is {power}: {reach}."
    return f"{start} these runs cannot tell whether the best rate moves. Its power is {power}: {reach}."


def warnings_of(report: TransferReport) -> list[str]:
    """Return what is wrong with the runs, then each size without a best rate."""
    lines = list(report.warnings)
    for series in report.series:
        at_edge = [b for b in series.bowls if b.refusal is not None and b.refusal.kind == "at the edge"]
        if at_edge and len(at_edge) < len(series.bowls):
            lines.append(
                f"{series.label}: in {len(at_edge)} of {len(series.bowls)} sizes the best rate lies at the"
                " edge of those tried. The drifts leave these sizes out. If they are the smallest or the"
                " largest sizes, the drifts come out too small."
            )
        for bowl in series.bowls:
            if bowl.refusal is not None:
                lines.append(f"{series.label}, {name_size(bowl, series)}: {bowl.refusal.words}")
    return lines


def name_size(bowl: Bowl, series: Series) -> str:
    """Return the size of a grid by the axes on which the series differs, such as "width 64, batch 8"."""
    varying = [a for a in bowl.sizes if len({b.sizes[a] for b in series.bowls}) > 1]
    return ", ".join(f"{axis} {format_count(bowl.sizes[axis])}" for axis in varying) or "the only size"


def following(series: Series) -> str | None:
    """Return which settings follow the size, as a sentence."""
    if not series.follows:
        return None
    return f"{series.label}: {', '.join(series.follows)} change with the size, one value for each."
