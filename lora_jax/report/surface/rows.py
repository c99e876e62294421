"""A surface report as rows of text."""

from lora_jax.percent import percent
from lora_jax.report.kit.numbers import MISSING, format_count, format_interval, format_loss
from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.report.surface.conclusions import NAMES, name_size
from lora_jax.scaling.surfaces.published import PUBLISHED
from lora_jax.scaling.surfaces.results import BestPair, FlatRange, PowerLaws, SurfaceReport, SurfaceSeries


def law_rows(report: SurfaceReport) -> Table:
    """Return a row for each series, quantity and exponent, with what others published beside it."""
    rows = []
    for series in report.series:
        if series.laws is not None:
            rows += [row for what in ("rate", "batch") for row in _rows_of(series, series.laws, what)]
    columns = (
        "series",
        "the best",
        "power of",
        "exponent",
        INTERVAL,
        *(p.name for p in PUBLISHED),
        "n",
        "scatter",
    )
    sources = ", ".join(f"{p.name} ({p.source})" for p in PUBLISHED)
    return Table(
        "The best rate and batch size as power laws of N and D",
        columns,
        tuple(rows),
        frozenset({3, *range(5, 7 + len(PUBLISHED))}),
        note=f"{sources}: exponents of other models and settings, to read beside these; DeepSeek's is of C ="
        " 6 N D. n: sizes with a best pair. scatter: how far these lie from the law over what their errors"
        " explain; with * the interval is wider for it.",
    )


def _rows_of(series: SurfaceSeries, laws: PowerLaws, what: str) -> list[tuple[str, ...]]:
    law = laws.rate if what == "rate" else laws.batch
    rows = []
    for letter in laws.letters:
        theirs = [p.rate if what == "rate" else p.batch for p in PUBLISHED]
        known = [MISSING if powers is None else f"{powers.get(letter, 0.0):.3g}" for powers in theirs]
        together = " with ".join([letter, *laws.along])
        rows.append(
            (
                series.label,
                NAMES[what],
                together,
                *format_interval(law.exponents[letter]),
                *known,
                str(laws.n_surfaces),
                f"{law.scatter:.2g}{' *' if law.widened else ''}",
            )
        )
    return rows


def surface_rows(report: SurfaceReport) -> Table:
    """Return a row for each size: its best pair, or why there is none."""
    rows, flagged = [], set()
    for series in report.series:
        for surface in series.surfaces:
            if surface.best is None:
                flagged.add(len(rows))
            pairs = f"{len(surface.losses)}: {len(set(surface.rates))} x {len(set(surface.batches))}"
            rows.append(
                (
                    series.label,
                    name_size(surface, series),
                    pairs,
                    *_best(surface.best),
                    str(surface.n_diverged),
                    "" if surface.refusal is None else surface.refusal.kind,
                )
            )
    columns = (
        "series",
        "size",
        "pairs",
        "best rate",
        INTERVAL,
        "best batch",
        "its 95 % interval",
        "nearest",
        "loss",
        "rate ~ batch^",
        "diverged",
        "no best pair",
    )
    return Table(
        "The best learning rate and batch size of each size",
        columns,
        tuple(rows),
        frozenset({3, 5, 8, 9, 10}),
        frozenset(flagged),
        note=f"The rate is {report.rate_name}, the batch size {report.batch_name}. best: the vertex of a"
        " quadratic of ln loss in ln rate and ln batch, through the runs within a factor of 4.5 of the best"
        " one. nearest: by the runs within a factor of 2.1. rate ~ batch^: how the best rate moves with the"
        " batch size.",
    )


def _best(best: BestPair | None) -> tuple[str, ...]:
    if best is None:
        return (MISSING,) * 7
    near = MISSING if best.near is None else f"{best.near[0]:.3g}, {best.near[1]:.3g}"
    value, interval = format_interval(best.ridge)
    return (
        f"{best.rate.value:.3g}",
        f"{best.rate.low:.3g} to {best.rate.high:.3g}",
        f"{best.batch.value:.3g}",
        f"{best.batch.low:.3g} to {best.batch.high:.3g}",
        near,
        format_loss(best.loss),
        f"{value} ({interval})",
    )


def flat_rows(report: SurfaceReport) -> Table:
    """Return a row for each size with a best pair: how far rate and batch size may be off."""
    rows = [
        (
            series.label,
            name_size(surface, series),
            *_ranges(surface.best.flat_rate),
            *_ranges(surface.best.flat_batch),
        )
        for series in report.series
        for surface in series.surfaces
        if surface.best is not None
    ]
    columns = ("series", "size", "rate, alone", "rate, batch tuned", "batch, alone", "batch, rate tuned")
    return Table(
        f"Within {percent(report.flat, digits=3)} of the least loss",
        columns,
        tuple(rows),
        note="alone: the other one stays at its best. tuned: the other one is the best for each. With * the"
        " range reaches further than the runs, where nothing is known.",
    )


def _ranges(flat: FlatRange) -> tuple[str, str]:
    mark = " *" if flat.beyond else ""
    alone, together = (f"{low:.3g} to {high:.3g}" for low, high in (flat.alone, flat.together))
    return alone, f"{together}{mark}"


def prediction_rows(report: SurfaceReport) -> Table:
    """Return a row for each size that was asked for."""
    rows, flagged = [], set()
    for series in report.series:
        for p in series.predictions:
            if p.outside is not None:
                flagged.add(len(rows))
            sizes = ", ".join(f"{letter} {format_count(size)}" for letter, size in p.at.items())
            rows.append(
                (
                    series.label,
                    sizes,
                    f"{p.rate.value:.3g}",
                    f"{p.rate.low:.3g} to {p.rate.high:.3g}",
                    f"{p.batch.value:.3g}",
                    f"{p.batch.low:.3g} to {p.batch.high:.3g}",
                    p.outside or "",
                )
            )
    columns = ("series", "size", "rate", INTERVAL, "batch size", "its 95 % interval", "outside the runs")
    return Table(
        "The best pair by the power laws", columns, tuple(rows), frozenset({2, 4}), frozenset(flagged)
    )
