"""A design on the terminal: what it promises, its runs, and the ladder that it beats."""

from collections.abc import Mapping
from typing import Any

from lora_jax.report.numbers import format_count, format_loss, format_power, format_seconds
from lora_jax.report.rows import INTERVAL, Table
from lora_jax.report.tables import make_console, print_table

Document = Mapping[str, Any]  # `to_json` of Design or NextRun


def print_design(document: Document) -> None:
    """Print a design; its first line says what the runs promise."""
    console = make_console()
    console.print(promise(document), markup=False, highlight=False, soft_wrap=True)
    console.print()
    for table in design_tables(document):
        print_table(table, console)
    _print_warnings(console, document)


def print_next_run(document: Document) -> None:
    """Print the next run worth buying, and the others on offer."""
    console = make_console()
    console.print(document["words"], markup=False, highlight=False, soft_wrap=True)
    console.print()
    for table in next_run_tables(document):
        print_table(table, console)
    _print_warnings(console, document)


def design_tables(document: Document) -> list[Table]:
    """Return the runs to train, and the plan beside the ladder where they were compared."""
    tables = [cell_rows(document["cells"], document["design"]), ladder_rows(document)]
    return [table for table in tables if table is not None]


def next_run_tables(document: Document) -> list[Table]:
    """Return the runs on offer that narrow the interval most, and most per FLOP."""
    tables = []
    for title, key in (("Narrowing most", "by_gain"), ("Narrowing most per FLOP", "by_gain_per_flop")):
        rows = tuple((*_cell(one), f"{one['narrower']:.1%}") for one in document[key][:5])
        columns = ("N", "D", "D/N", "C (FLOPs)", "seconds", "narrower by")
        tables.append(_timed(Table(title, columns, rows, frozenset(range(6)))))
    return tables


def promise(document: Document) -> str:
    """Return what the design would tell of the loss at its target, in a sentence."""
    target, loss = document["target"], document["loss_at_target"]
    spent = f"{format_power(document['spent_flops'])} FLOPs"
    if document["seconds"] is not None:
        spent += f", about {format_seconds(document['seconds'])} here"
    return (
        f"{document['n_runs']} runs ({spent}) would tell the loss at N = {format_count(target['n_params'])},"
        f" D = {format_count(target['n_tokens'])} to +-{document['half_width_percent']:.2f} % ("
        f"{format_loss(loss['ci95'][0])} to {format_loss(loss['ci95'][1])}), with a noise of"
        f" {document['noise_sd']:.2%} between seeds and {document['law']} for a law."
    )


def cell_rows(cells: list[Mapping[str, Any]], title: str) -> Table:
    """Return the runs to train, the smallest first."""
    rows = tuple(_cell(cell) for cell in sorted(cells, key=lambda c: (c["n_params"], c["n_tokens"])))
    columns = ("N", "D", "D/N", "C (FLOPs)", "seconds")
    return _timed(Table(f"Runs to train: {title}", columns, rows, frozenset(range(5))))


def ladder_rows(document: Document) -> Table | None:
    """Return the plan beside the ladder of the same cost, by first-order theory and by simulation."""
    ladder, simulated = document["ladder"], document["simulated"]
    if ladder is None or simulated is None:
        return None
    rows = [("this design, first order", document), ("this design, simulated", simulated)]
    rows.append((f"D = {ladder['tokens_per_parameter']:g} N ladder, simulated", ladder))
    said = []
    for name, row in rows:
        low, high = row["loss_at_target"]["ci95"]
        width = f"+-{row['half_width_percent']:.2f} %"
        said.append((name, width, f"{format_loss(low)} to {format_loss(high)}"))
    return Table("The loss at the target", ("runs", "half width", INTERVAL), tuple(said))


def _timed(table: Table) -> Table:
    """Return the table without its seconds where no speed was given."""
    at = table.columns.index("seconds")
    if any(row[at] for row in table.rows):
        return table
    return table.select([name for name in table.columns if name != "seconds"])


def _cell(cell: Mapping[str, Any]) -> tuple[str, ...]:
    seconds = "" if cell["seconds"] is None else format_seconds(cell["seconds"])
    counts = (format_count(cell["n_params"]), format_count(cell["n_tokens"]))
    return (*counts, f"{cell['tokens_per_parameter']:.3g}", format_power(cell["paid_flops"]), seconds)


def _print_warnings(console: Any, document: Document) -> None:
    for warning in document["warnings"]:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
