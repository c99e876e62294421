"""Laws of fine-tuning as rows of text."""

from collections.abc import Mapping, Sequence

from lora_jax.estimate import Estimate
from lora_jax.report.kit.numbers import (
    MISSING,
    format_count,
    format_interval,
    format_loss,
    format_percent,
    format_power,
)
from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.scaling.finetuning.results import FinetuningReport, MethodResult, Need, Solution


def all_rows(report: FinetuningReport) -> list[Table]:
    """Return every table that has rows, the runs that are not fitted apart."""
    tables = [
        crossing_rows(report),
        law_rows(report),
        form_rows(report),
        capacity_rows(report),
        need_rows(report),
    ]
    return [table for table in tables if table.rows]


def law_rows(report: FinetuningReport) -> Table:
    """Return a row for each method: its runs, its law, and whether to believe it."""
    laws = [method.law for method in report.methods if method.law is not None]
    names = list(dict.fromkeys(name for law in laws for name in law.params))
    columns = ("method", "runs", "cells", "at an edge", "least loss", *names, "misses by", "verdict")
    formula = laws[0].formula if laws else f"no law in {report.x}"
    return Table(
        f"The laws: {formula}",
        columns,
        tuple(_law_row(method, names) for method in report.methods),
        frozenset(range(1, 6 + len(names))),
        frozenset(i for i, method in enumerate(report.methods) if not method.takes_part),
        note=f"{report.form_why} cells: places of equal sizes, each at its best learning rate, a mean over"
        " seeds. at an edge: cells whose best rate is at an edge of those tried. misses by: root mean square"
        " of the residuals of ln loss. A marked method takes no part in comparisons.",
    )


def _law_row(method: MethodResult, names: Sequence[str]) -> tuple[str, ...]:
    edges = f"{method.n_at_edge} of {method.n_grids}" if method.n_grids else MISSING
    least = format_loss(min(cell.loss for cell in method.cells))
    head = (method.name, f"{method.n_runs}", f"{len(method.cells)}", edges, least)
    reason = "; ".join(dict.fromkeys(words for words in (method.no_law, method.apart) if words))
    if method.law is None:
        return (*head, *(MISSING for _ in names), MISSING, reason or MISSING)
    params = (show_estimate(method.law.params.get(name)) for name in names)
    words = method.law.verdict.words + (f"; {reason}" if reason else "")
    return (*head, *params, format_percent(method.law.rms, signed=False), words)


def show_estimate(number: Estimate | None) -> str:
    """Return a number with its interval in brackets."""
    if number is None:
        return MISSING
    value, between = format_interval(number)
    return f"{value} ({between})"


def form_rows(report: FinetuningReport) -> Table:
    """Return a row for each form: what it predicts of cells that it has not seen."""

    def off(value: float | None) -> str:
        return format_percent(value, signed=False)

    rows = []
    for form in report.forms:
        value, between = (
            (MISSING, MISSING)
            if form.better is None
            else (
                format_percent(form.better.value),
                f"{format_percent(form.better.low)} to {format_percent(form.better.high)}",
            )
        )
        inside = f"{sum(one.inside for one in form.heldout)} of {len(form.heldout)}"
        rows.append(
            (
                form.name + (" (chosen)" if form.chosen else ""),
                form.formula,
                f"{form.n_params}" if form.n_params else MISSING,
                off(form.rms_by.get("F")),
                off(form.rms_by.get("X")),
                inside if form.heldout else MISSING,
                off(form.rms_fitted),
                value,
                between,
                form.missing or MISSING,
            )
        )
    columns = (
        "form",
        "law",
        "parameters",
        "largest F",
        f"largest {report.x}",
        "inside its interval",
        "misses fitted by",
        "squared error against the first",
        INTERVAL,
        "remark",
    )
    return Table(
        "Forms of the law, by what they predict unseen",
        columns,
        tuple(rows),
        frozenset(range(2, 9)),
        frozenset(i for i, form in enumerate(report.forms) if form.missing is not None and form.rms is None),
        note="The largest F and the largest X were held out in turn, predicted, and compared.",
    )


def crossing_rows(report: FinetuningReport) -> Table:
    """Return a row for each pair of methods and each X: from which F which is better."""
    rows = tuple(
        (
            f"{pair.first}, {pair.second}",
            say_place(crossing.at),
            *show_solution(crossing.finetune_tokens),
            crossing.found,
            MISSING if crossing.beyond is None else format_power(crossing.beyond, 2),
            crossing.above or MISSING,
        )
        for pair in report.crossovers
        for crossing in pair.crossings
    )
    return Table(
        f"Crossovers in F ({report.f_column})",
        ("methods", "at", "F of equal loss", INTERVAL, "found", "of the runs' F", "better above"),
        rows,
        frozenset({2, 3, 5}),
        note="identified: inside the runs, between two ends. extrapolated: outside the runs. none: the runs"
        " rule it out inside their range; then the last column is the better method. not identified: the"
        " runs leave it open.",
    )


def capacity_rows(report: FinetuningReport) -> Table:
    """Return a row for each knee: the rank at which a method leaves full fine-tuning's curve."""
    rows = []
    for found in report.capacities:
        head = (found.method, found.full, ", ".join(f"{rank:g}" for rank in found.ranks))
        p = MISSING if found.p is None else format_power(found.p, 2)
        if not found.knees:
            rows.append((*head, MISSING, MISSING, MISSING, found.found, p, found.missing or MISSING))
        for knee in found.knees:
            rows.append((*head, say_place(knee.at), *show_solution(knee.rank), knee.found, p, MISSING))
    columns = ("method", "against", "ranks", "at", "rank of the knee", INTERVAL, "found", "p", "remark")
    return Table(
        "Capacity: the rank below which LoRA leaves full fine-tuning's curve",
        columns,
        tuple(rows),
        frozenset({4, 5, 7}),
        note="p: how probable the excess losses are if no rank were too small. extrapolated: outside the"
        " ranks of the runs.",
    )


def need_rows(report: FinetuningReport) -> Table:
    """Return a row for each method and target: the X that it needs, and what a run of that size costs."""
    names = list(dict.fromkeys(name for need in report.needs for name in need.costs))
    columns = ("method", "loss", "F", report.x, INTERVAL, "of the largest run", *names)
    return Table(
        f"What a method needs for a loss: the least {report.x}, and its cost",
        columns,
        tuple(_need_row(need, names) for need in report.needs),
        frozenset(range(1, len(columns))),
        frozenset(i for i, need in enumerate(report.needs) if need.beyond is None or need.beyond > 1),
        note="A marked row is extrapolated, or no size reaches the loss. Costs are power laws through the"
        " method's own runs.",
    )


def _need_row(need: Need, names: Sequence[str]) -> tuple[str, ...]:
    costs = (count(need.costs[name].value) if name in need.costs else MISSING for name in names)
    beyond = MISSING if need.beyond is None else format_power(need.beyond, 2)
    return (
        need.method,
        format_loss(need.loss),
        count(need.finetune_tokens),
        *show_solution(need.x),
        beyond,
        *costs,
    )


def left_out_rows(report: FinetuningReport) -> Table:
    """Return a row for each run that is not fitted."""
    rows = tuple((one.run_id, one.reason) for one in report.left_out)
    return Table("Runs that are not fitted", ("run", "reason"), rows)


def show_solution(found: Solution) -> tuple[str, str]:
    """Return a solution and its interval, whose ends may be open."""
    return count(found.value), say_ends(found)


def count(value: float | None) -> str:
    """Return a number with few digits, such as "1.2M"."""
    return MISSING if value is None else format_count(value) if value >= 1000 else f"{value:.3g}"


def say_ends(found: Solution) -> str:
    """Return both ends of an interval; an open one is a dash."""
    if found.low is None and found.high is None:
        return "open" if found.value is not None else MISSING
    low = "..." if found.low is None else count(found.low)
    high = "..." if found.high is None else count(found.high)
    return f"{low} to {high}"


def say_place(at: Mapping[str, float], letters: Sequence[str] = "NDPF") -> str:
    """Return a place in words, such as "N = 12M, F = 1.5k"."""
    return ", ".join(f"{v} = {count(at[v])}" for v in letters if v in at) or "all runs"
