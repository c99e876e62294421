"""Approaches 1 and 2 on the terminal: the verdict, the exponents, a row per budget, every warning."""

from lora_jax.estimate import Estimate
from lora_jax.report.kit.numbers import format_count, format_interval, format_power
from lora_jax.report.kit.tables import INTERVAL, Table, make_console, print_table
from lora_jax.scaling.optima.approach_report import ApproachReport


def print_approach(report: ApproachReport) -> None:
    """Print one approach; its first line is the verdict."""
    console = make_console()
    console.print(report.verdict.words, markup=False, highlight=False, soft_wrap=True)
    console.print()
    for table in approach_tables(report):
        print_table(table, console)
    said = [f"{v} is {report.columns[v]}" for v in "NDC" if v in report.columns]
    console.print(f"{', '.join(said)}.", markup=False, highlight=False)
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
    for note in report.notes:
        console.print(f"note: {note}", style="dim", markup=False, highlight=False)


def approach_tables(report: ApproachReport) -> list[Table]:
    """Return the tables that the report can carry."""
    tables = (exponent_rows(report), budget_rows(report), prediction_rows(report))
    return [table for table in tables if table.rows]


def exponent_rows(report: ApproachReport) -> Table:
    """Return a, b and their coefficients."""
    rows = [(name, *format_interval(number)) for name, number in report.found.exponents.items()]
    how = f"approach {report.found.approach}"
    return Table(
        f"N* = G_N C^a, D* = G_D C^b by {how}", ("number", "value", INTERVAL), tuple(rows), frozenset({1})
    )


def budget_rows(report: ApproachReport) -> Table:
    """Return the optimum of every budget of approach 2; approach 1 has none."""
    rows = []
    for row in report.minima:
        numbers = [" ".join(_brackets(number)) for number in (row.n_params, row.n_tokens, row.loss)]
        rows.append((format_power(row.flops), *numbers, str(len(row.sizes))))
    columns = ("C (FLOPs)", "N*", "D*", f"loss ({report.loss_unit})", "sizes")
    return Table("The minimum at each budget", columns, tuple(rows), frozenset({0, 4}))


def prediction_rows(report: ApproachReport) -> Table:
    """Return N*, D* and D/N at the budgets that were asked for."""
    rows = []
    for row in report.predictions:
        numbers = (("n_params", row.n_params), ("n_tokens", row.n_tokens))
        for name, number in (*numbers, ("tokens_per_param", row.tokens_per_param)):
            rows.append((name, format_power(row.flops), *_brackets(number)))
    columns = ("quantity", "C (FLOPs)", "value", INTERVAL)
    return Table("By the power laws", columns, tuple(rows), frozenset({1, 2}))


def _brackets(number: Estimate) -> tuple[str, str]:
    if abs(number.value) < 1e3:
        value, interval = format_interval(number)
        return value, f"({interval})"
    if number.ci95 is None:
        return format_count(number.value), "(no interval)"
    low, high = number.ci95
    return format_count(number.value), f"({format_count(low)} to {format_count(high)})"
