"""What a comparison of laws concludes. It says no more than was tested."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lora_jax.percent import percent
from lora_jax.scaling.comparing.origins import Order, Split

if TYPE_CHECKING:
    from lora_jax.scaling.comparing.comparison_report import Noise
    from lora_jax.scaling.comparing.comparison_rows import Row, Standing

NOT_TOLD = "not distinguishable from the best"


def verdict(standing: "Standing", noise: "Noise | None", n_units: int, order: Order) -> str:
    """Return how a law compares with the best one, in words. It must have been fitted at every origin.

    Args:
        standing: The comparison with the best law.
        noise: The noise of one run, if it is known.
        n_units: How many units were predicted.
        order: The order of the runs.
    """
    status, excess, interval = standing.status, standing.excess, standing.excess_ci95
    if status == "best":
        return "best"
    if status == "exact":
        return f"{NOT_TOLD} (both are exact to rounding)"
    if interval is None:
        return (
            f"its error is {_short(excess, signed=True)} against the best, but {n_units} predicted"
            f" {order.noun} are too few to distinguish them"
        )
    low, high = interval
    small = "; the difference is smaller than the noise of one run" if standing.below_noise and noise else ""
    if status == "tied":
        span = f"95 % interval {_short(low, signed=True)} to {_short(high, signed=True)}"
        return f"{NOT_TOLD} (error {_short(excess, signed=True)}, {span}){small}"
    span = f"95 % interval {_short(low)} to {_short(high)}"
    return f"worse than the best: its error is {_short(excess)} larger ({span}){small}"


def cannot_be_fitted(failures: Mapping[int, str], splits: Sequence[Split], order: Order) -> str:
    """Say at which origins a law could not be fitted.

    Args:
        failures: The reason for each origin, by the origin's number.
    """
    said = [
        f"origin {i + 1} ({percent(splits[i].share)} of the {order.noun}): {why}"
        for i, why in failures.items()
    ]
    return f"cannot be fitted at {'; '.join(said)}"


def overall(
    rows: Sequence["Row"], splits: Sequence[Split], order: Order, noise: "Noise | None", n_units: int
) -> str:
    """Return which forms the table supports, how well, and how far beyond its runs we tested that, in words.

    Args:
        rows: The laws, the best first.
        splits: The origins.
        order: The order of the runs.
        noise: The noise of one run, if it is known.
        n_units: How many units were predicted.
    """
    return " ".join((*_support(rows), *_noise(rows, noise), _tested(splits, order, n_units)))


def _support(rows: Sequence["Row"]) -> list[str]:
    best, *others = [row for row in rows if row.standing is not None]
    by = {s: [r for r in others if r.standing and r.standing.status == s] for s in ("exact", "tied", "worse")}
    tied, worse = [*by["exact"], *by["tied"]], by["worse"]
    assert best.rolling_rms is not None, "a law with a standing was scored"
    of_what = f"root mean square of ln {best.law.response}, predicted less measured"
    error = f"{percent(best.rolling_rms, 2)} ({of_what})"
    unknown = [r for r in others if r not in tied and r not in worse]
    if not others:
        said = [f"{best.name} is the only law compared; its error on larger runs is {error}."]
    elif unknown:
        said = [
            f"{best.name} predicts the larger runs best, with an error of {error}, but they are too few"
            " to rank laws."
        ]
    elif tied:
        told = f"{', '.join([best.name, *(r.name for r in tied[:-1])])} and {tied[-1].name}"
        few = min([best, *tied], key=lambda r: len(r.law.names))
        said = [
            f"The table cannot tell which of {told} is the right form: their errors on its larger runs"
            f" are not distinguishable. {best.name} has the smallest error, {error}. {few.name} has the"
            f" fewest parameters, {len(few.law.names)}."
        ]
    else:
        said = [
            f"The table supports {best.name}: it predicts the larger runs best, with an error of {error}."
        ]
    if worse:
        nearest = min(worse, key=lambda r: r.standing.excess if r.standing else 0.0)
        assert nearest.standing is not None
        by_ = _short(nearest.standing.excess)
        count = (
            f"The errors of {len(worse)} other laws are" if len(worse) > 1 else f"{worse[0].name}'s error is"
        )
        said.append(f"{count} {by_}{f' ({nearest.name}) or more' if len(worse) > 1 else ''} larger.")
    lost = [r.name for r in rows if r.standing is None]
    if lost:
        said.append(f"Not ranked, because they could not be fitted at every origin: {', '.join(lost)}.")
    return said


def _noise(rows: Sequence["Row"], noise: "Noise | None") -> list[str]:
    best = rows[0].rolling_rms
    if noise is None or best is None:
        return []
    times = best / noise.sd
    said = f"The noise of one run is {percent(noise.sd, 2)} ({noise.source})"
    if times > 2:
        return [f"{said}, and the best law misses by {times:.1f} times that."]
    close = [r for r in rows[1:] if r.standing and r.standing.below_noise]
    if close:
        return [f"{said}: {rows[0].name} differs from {', '.join(r.name for r in close)} by less than that."]
    return [f"{said}."]


def _tested(splits: Sequence[Split], order: Order, n_units: int) -> str:
    first, last = splits[0], splits[-1]
    n = sum(len(s.test) for s in splits)
    reach = f"{first.farthest:.3g} times the largest fitted {order.measure}"
    if len(splits) == 1:
        origins = f"from one origin, at {percent(first.share)} of the {order.noun}. They reach up to {reach}"
    else:
        origins = (
            f"from {len(splits)} origins, at {percent(first.share)} to {percent(last.share)} of the"
            f" {order.noun}. They"
            f" reach up to {reach} from the first origin, and {last.farthest:.3g} times from the last"
        )
    return (
        f"We tested {n} predictions of {n_units} {order.noun} {origins}. This says nothing about runs beyond."
    )


def _short(share: float, signed: bool = False) -> str:
    """Return a percentage with two digits, from ten percent on with all before the point."""
    return percent(share, digits=2 if abs(100 * share) < 10 else None, signed=signed)
