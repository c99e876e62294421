"""Approaches 1 and 2 on the terminal: the verdict, the exponents, a row per budget, every warning."""

from collections.abc import Mapping
from typing import Any

from lora_jax.report.numbers import format_count, format_interval, format_power
from lora_jax.report.rows import INTERVAL, Table
from lora_jax.report.tables import make_console, print_table

Document = Mapping[str, Any]  # `to_json` of IsoFlop or Envelope, with "predictions"


def print_approach(document: Document) -> None:
    """Print one approach; its first line is the verdict."""
    console = make_console()
    console.print(document["verdict"], markup=False, highlight=False, soft_wrap=True)
    console.print()
    for table in approach_tables(document):
        print_table(table, console)
    for warning in document["warnings"]:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)


def approach_tables(document: Document) -> list[Table]:
    """Return the tables that the document can carry."""
    tables = (exponent_rows(document), budget_rows(document), prediction_rows(document))
    return [table for table in tables if table.rows]


def exponent_rows(document: Document) -> Table:
    """Return a, b and their coefficients."""
    rows = [(name, *format_interval(number)) for name, number in document["exponents"].items()]
    how = f"approach {document['approach']}"
    return Table(
        f"N* = G_N C^a, D* = G_D C^b by {how}", ("number", "value", INTERVAL), tuple(rows), frozenset({1})
    )


def budget_rows(document: Document) -> Table:
    """Return the optimum of every budget of approach 2; approach 1 has none."""
    rows = []
    for row in document.get("rows", ()):
        numbers = [" ".join(_brackets(row[k])) for k in ("n_params", "n_tokens", "loss")]
        rows.append((format_power(row["flops"]), *numbers, str(len(row["sizes"]))))
    columns = ("C (FLOPs)", "N*", "D*", f"loss ({document['loss_unit']})", "sizes")
    return Table("The minimum at each budget", columns, tuple(rows), frozenset({0, 4}))


def prediction_rows(document: Document) -> Table:
    """Return N*, D* and D/N at the budgets that were asked for."""
    rows = []
    for row in document["predictions"]:
        for name in (k for k in row if k != "flops"):
            rows.append((name, format_power(row["flops"]), *_brackets(row[name])))
    columns = ("quantity", "C (FLOPs)", "value", INTERVAL)
    return Table("By the power laws", columns, tuple(rows), frozenset({1, 2}))


def _brackets(number: Mapping[str, Any]) -> tuple[str, str]:
    if abs(number["value"]) < 1e3:
        value, interval = format_interval(dict(number))
        return value, f"({interval})"
    if not number["ci95"]:
        return format_count(number["value"]), "(no interval)"
    low, high = number["ci95"]
    return format_count(number["value"]), f"({format_count(low)} to {format_count(high)})"
