"""A design on the terminal: what it promises, its runs, and the ladder that it beats."""

from collections.abc import Sequence
from typing import Any

from lora_jax.percent import percent
from lora_jax.report.kit.numbers import (
    format_count,
    format_loss,
    format_percent,
    format_power,
    format_seconds,
)
from lora_jax.report.kit.tables import INTERVAL, Table, make_console, print_table
from lora_jax.scaling.planning.design_report import DesignReport, NextRunReport, PlannedRun


def print_design(report: DesignReport) -> None:
    """Print a design; its first line says what the runs promise."""
    console = make_console()
    console.print(promise(report), markup=False, highlight=False, soft_wrap=True)
    console.print()
    for table in design_tables(report):
        print_table(table, console)
    _print_warnings(console, report)


def print_next_run(report: NextRunReport) -> None:
    """Print the next run worth buying, and the others on offer."""
    console = make_console()
    console.print(report.words, markup=False, highlight=False, soft_wrap=True)
    console.print()
    for table in next_run_tables(report):
        print_table(table, console)
    _print_warnings(console, report)


def design_tables(report: DesignReport) -> list[Table]:
    """Return the runs to train, and the plan beside the ladder where they were compared."""
    tables = [cell_rows(report.cells, report.design), ladder_rows(report)]
    return [table for table in tables if table is not None]


def next_run_tables(report: NextRunReport) -> list[Table]:
    """Return the runs on offer that narrow the interval most, and most per FLOP."""
    tables = []
    for title, offered in (
        ("Narrowing most", report.by_gain),
        ("Narrowing most per FLOP", report.by_gain_per_flop),
    ):
        rows = tuple((*_cell(one), percent(one.narrower, 1)) for one in offered[:5])
        columns = ("N", "D", "D/N", "C (FLOPs)", "seconds", "narrower by")
        tables.append(_timed(Table(title, columns, rows, frozenset(range(6)))))
    return tables


def promise(report: DesignReport) -> str:
    """Return what the design would tell of the loss at its target, in a sentence."""
    target, loss = report.target, report.loss_at_target
    spent = f"{format_power(report.spent_flops)} FLOPs"
    if report.seconds is not None:
        spent += f", about {format_seconds(report.seconds)}"
    return (
        f"{report.n_runs} runs ({spent}) would tell the loss at N = {format_count(target.n_params)},"
        f" D = {format_count(target.n_tokens)} to \u00b1{report.half_width_percent:.2f} % ("
        f"{format_loss(loss.low)} to {format_loss(loss.high)}), if {report.law} is the law"
        f" and the noise of one run is {format_percent(report.noise_sd, signed=False)}."
    )


def cell_rows(cells: Sequence[PlannedRun], title: str) -> Table:
    """Return the runs to train, the smallest first."""
    rows = tuple(_cell(cell) for cell in sorted(cells, key=lambda c: (c.n_params, c.n_tokens)))
    columns = ("N", "D", "D/N", "C (FLOPs)", "seconds")
    return _timed(Table(f"Runs to train: {title}", columns, rows, frozenset(range(5))))


def ladder_rows(report: DesignReport) -> Table | None:
    """Return the plan beside the ladder of the same cost, by first-order theory and by simulation."""
    ladder, simulated = report.ladder, report.simulated
    if ladder is None or simulated is None:
        return None
    said = []
    for name, row in (
        ("this design, first order", report),
        ("this design, simulated", simulated),
        (f"D = {ladder.tokens_per_parameter:g} N ladder, simulated", ladder),
    ):
        loss, width = row.loss_at_target, f"\u00b1{row.half_width_percent:.2f} %"
        said.append((name, width, f"{format_loss(loss.low)} to {format_loss(loss.high)}"))
    return Table("The loss at the target", ("runs", "half width", INTERVAL), tuple(said))


def _timed(table: Table) -> Table:
    """Return the table without its seconds where no speed was given."""
    at = table.columns.index("seconds")
    if any(row[at] for row in table.rows):
        return table
    return table.select([name for name in table.columns if name != "seconds"])


def _cell(cell: PlannedRun) -> tuple[str, ...]:
    seconds = "" if cell.seconds is None else format_seconds(cell.seconds)
    counts = (format_count(cell.n_params), format_count(cell.n_tokens))
    return (*counts, f"{cell.tokens_per_parameter:.3g}", format_power(cell.paid_flops), seconds)


def _print_warnings(console: Any, report: DesignReport | NextRunReport) -> None:
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
    for note in report.notes:
        console.print(f"note: {note}", style="dim", markup=False, highlight=False)
