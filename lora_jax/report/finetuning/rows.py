"""What a study of fine-tuning has besides laws, as rows of text: claims, and forgetting."""

from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.report.finetuning.conclusions import spell_found
from lora_jax.report.finetuning.law_rows import show_estimate
from lora_jax.report.kit.numbers import MISSING, format_interval, format_percent
from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.scaling.finetuning.claim_results import Band, Claim, Scale
from lora_jax.scaling.finetuning.forgetting_results import Forgetting


def claim_rows(claims: tuple[Claim, ...]) -> Table:
    """Return a row for each part of a claim: what was measured, and what it says."""
    rows = []
    for claim in claims:
        value, between = show_number(claim.value, claim.scale)
        n_cells = f"{claim.n_cells}" + (f" ({claim.n_at_edge} at an edge)" if claim.n_at_edge else "")
        rows.append(
            (
                f"{claim.number}",
                claim.claim,
                claim.measured,
                value,
                between,
                show_band(claim.band, claim.scale),
                spell_found(claim.found),
                n_cells,
                claim.why or MISSING,
                claim.interval or MISSING,
            )
        )
    columns = (
        "claim",
        "what it says",
        "measured",
        "value",
        INTERVAL,
        "holds within",
        "found",
        "cells",
        "remark",
        "interval by",
    )
    return Table(
        "The claims of LoRA Without Regret",
        columns,
        tuple(rows),
        frozenset({3, 4}),
        frozenset(i for i, claim in enumerate(claims) if claim.found == "refuted"),
        note="held: the whole interval lies within. refuted: all of it lies outside, and the row is marked."
        " undecided: neither. A cell in which a best rate is at an edge of its grid is left out. Claim 9 is"
        " exact: a test holds it.",
    )


def show_number(value: Estimate | None, scale: Scale) -> tuple[str, str]:
    """Return a number and its interval: a difference of ln loss in percent, a ratio or a share plainly."""
    if value is None:
        return MISSING, MISSING
    if scale == "percent":
        return format_percent(value.value), f"{format_percent(value.low)} to {format_percent(value.high)}"
    return format_interval(value)


def show_band(band: Band, scale: Scale) -> str:
    """Return the range in which a claim holds."""

    def show(x: float) -> str:
        return format_percent(x) if scale == "percent" else f"{x:.3g}"

    if band.low is None:
        return MISSING if band.high is None else f"below {show(band.high)}"
    return f"above {show(band.low)}" if band.high is None else f"{show(band.low)} to {show(band.high)}"


def forgetting_rows(found: Forgetting) -> Table:
    """Return a row for each method: its power law of forgetting."""
    letters = list(dict.fromkeys(letter for law in found.laws for letter in law.exponents))
    rows = tuple(
        (
            law.method,
            f"{law.n_cells}",
            show_estimate(law.at),
            *(show_estimate(law.exponents.get(letter)) for letter in letters),
            MISSING if law.scatter is None else percent(law.scatter),
            law.words,
        )
        for law in found.laws
    )
    columns = (
        "method",
        "cells",
        "forgotten in the middle",
        *(f"exponent of {x}" for x in letters),
        "scatter",
        "verdict",
    )
    return Table(
        f"Forgetting of {found.source}, at the best rates",
        columns,
        rows,
        frozenset(range(1, 4 + len(letters))),
        frozenset(i for i, law in enumerate(found.laws) if not law.follows),
        note="Loss on held-out text of the base after tuning less before, in nats a token, as A F^a N^b. The"
        " middle is the geometric mean of the cells. A marked method follows no power law.",
    )


def frontier_rows(found: Forgetting) -> Table:
    """Return a row for each method: how often it is ahead in what is learned, and in what is forgotten."""
    rows = tuple(
        (s.method, f"{s.n_places}", f"{s.n_least_loss}", f"{s.n_least_forgotten}", f"{s.n_on}")
        for s in found.shares
    )
    columns = ("method", "places", "least target loss", "least forgotten", "on the frontier")
    return Table(
        "Learning and forgetting",
        columns,
        rows,
        frozenset(range(1, 5)),
        note="A place is a base, a set and a batch size with several methods. The first two counts are at"
        " best rates. A method is on the frontier where some run of it, at any rate, is beaten by none in"
        " both.",
    )
