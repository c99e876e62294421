"""What a surface report found, in sentences."""

from collections import Counter

from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.report.kit.numbers import format_count
from lora_jax.scaling.surfaces.results import PowerLaws, PredictedPair, Surface, SurfaceReport, SurfaceSeries

NAMES = {"rate": "rate", "batch": "batch size"}


def headline(report: SurfaceReport) -> str:
    """Return the answer in one line."""
    surfaces = [surface for series in report.series for surface in series.surfaces]
    found = sum(surface.best is not None for surface in surfaces)
    if not found:
        return "No size has a best pair of rate and batch size, for the reasons below."
    laws = [series for series in report.series if series.laws is not None]
    more = "." if laws else ", which is too few for power laws."
    sizes = "1 size has" if len(surfaces) == 1 else f"{found} of {len(surfaces)} sizes have"
    return f"{sizes} a best pair of rate and batch size{more}"


def summarise(report: SurfaceReport) -> list[str]:
    """Return a few sentences for each series."""
    lines = []
    for series in report.series:
        name = f"{series.label[0].upper()}{series.label[1:]}"
        lines += [f"{name}: {line}" for line in (*_say_best(series, report), *_say_laws(series))]
        lines += [f"{name}: {say_prediction(predicted)}" for predicted in series.predictions]
    return lines


def _say_best(series: SurfaceSeries, report: SurfaceReport) -> list[str]:
    lines = []
    if series.ridge is not None:
        lines.append(
            f"with the batch size, the best rate moves as batch^{_interval(series.ridge)}. The"
            " square-root rule says 0.5."
        )
    found = [surface for surface in series.surfaces if surface.best is not None]
    if len(found) == 1 and (best := found[0].best) is not None:
        lines.insert(0, f"the best pair is {_pair(best.rate, best.batch)}.")
        low, high = best.flat_batch.together
        lines.append(
            f"the loss stays within {percent(report.flat, digits=3)} of the lowest at batch sizes of"
            f" {low:.3g} to {high:.3g} if the rate is tuned again. At the best batch size it does so at"
            f" rates of {best.flat_rate.alone[0]:.3g} to {best.flat_rate.alone[1]:.3g}."
        )
    return lines


def _say_laws(series: SurfaceSeries) -> list[str]:
    if series.laws is None:
        return [f"there are no power laws: {series.missing}"]
    lines = [f"the best {NAMES[what]} is {say_law(series.laws, what)}." for what in ("rate", "batch")]
    if series.laws.along:
        lines.append(
            f"{' and '.join(series.laws.along)} changes together with {' and '.join(series.laws.letters)}, so"
            " the runs cannot separate their exponents."
        )
    return lines


def say_law(laws: PowerLaws, what: str) -> str:
    """Return a power law with its intervals: "1.6e-3 (...) times (N / 380M)^-0.64 (...)"."""
    law = laws.rate if what == "rate" else laws.batch
    powers = [
        f"({letter} / {format_count(laws.reference[letter])})^{_interval(law.exponents[letter])}"
        for letter in laws.letters
    ]
    return " times ".join([_number(law.at_reference), *powers])


def say_prediction(predicted: PredictedPair) -> str:
    """Return what the power laws say of a size, and a warning where it lies outside the runs."""
    at = ", ".join(f"{letter} = {format_count(size)}" for letter, size in predicted.at.items())
    outside = "" if predicted.outside is None else f" Outside the runs: {predicted.outside}."
    return f"at {at} the best pair is {_pair(predicted.rate, predicted.batch)}.{outside}"


def _pair(rate: Estimate, batch: Estimate) -> str:
    return f"rate {_number(rate)} and batch size {_number(batch)}"


def _number(x: Estimate) -> str:
    return f"{x.value:.3g} ({x.low:.3g} to {x.high:.3g})"


def _interval(x: Estimate) -> str:
    return f"{x.value:.2f} ({x.low:.2f} to {x.high:.2f})"


def warnings_of(report: SurfaceReport) -> list[str]:
    """Return what is wrong with the runs, then each size without a best pair."""
    lines = list(report.warnings)
    for series in report.series:
        lines += _doubt_series(series)
        for surface in series.surfaces:
            if surface.refusal is not None:
                lines.append(f"{series.label}, {name_size(surface, series)}: {surface.refusal.words}")
    return lines


def _doubt_series(series: SurfaceSeries) -> list[str]:
    lines = []
    if series.is_skewed and series.skew is not None:
        rate, batch = series.skew
        lines.append(
            f"{series.label}: the surfaces are not quadratic. Over all sizes, runs within a factor of 2.1 of"
            f" the best give best rates {rate:.2f} times, and best batch sizes {batch:.2f} times, those from"
            " runs within a factor of 4.5. The intervals include this. It does not affect the exponents."
        )
    kinds = Counter(surface.refusal.kind for surface in series.surfaces if surface.refusal is not None)
    gone = kinds["outside the runs"] + kinds["beside divergence"]
    if gone and gone < len(series.surfaces):
        lines.append(
            f"{series.label}: in {gone} of {len(series.surfaces)} sizes the best pair lies outside the runs."
            " The power laws leave these sizes out. If they are the smallest or the largest sizes, the"
            " exponents are biased."
        )
    laws = series.laws
    if laws is not None:
        lines += [
            f"{series.label}: {letter} has only two values, and any two lie on a power law: add a third."
            for letter in laws.letters
            if laws.n_values[letter] == 2
        ]
    return lines


def name_size(surface: Surface, series: SurfaceSeries) -> str:
    """Return a size by N and D, or by the axes on which the series differs if either is not known."""
    if surface.n_params is not None and surface.n_tokens is not None:
        return f"N {format_count(surface.n_params)}, D {format_count(surface.n_tokens)}"
    varying = [a for a in surface.sizes if len({s.sizes[a] for s in series.surfaces}) > 1]
    return ", ".join(f"{axis} {format_count(surface.sizes[axis])}" for axis in varying) or "the only size"
