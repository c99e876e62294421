"""lora-jax fit --law approach-1 and approach-2: N* and D* read off the runs, without a law of the loss."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lora_jax.commands.table_options import command_line
from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.files import to_json

if TYPE_CHECKING:
    from lora_jax.report.kit.drawing import Drawing
    from lora_jax.scaling.optima.approach_report import ApproachReport, EnvelopeResult, IsoFlopResult
    from lora_jax.scaling.optima.envelope import Envelope
    from lora_jax.scaling.optima.isoflop import IsoFlop
    from lora_jax.scaling.tables.table import RunTable

Draw = Callable[[], "list[Drawing]"]


def run_approach(arguments: argparse.Namespace, table: "RunTable") -> int:
    """Fit, print or write what approach 1 or 2 finds; the first line is the verdict."""
    from lora_jax.commands.waiting import waiting

    with waiting():
        report, draw = fit_approach(arguments, table)
    if arguments.out is not None:
        page = write_approach(report, draw, command_line(sys.argv[1:]), arguments.out)
    if arguments.json:
        print(to_json(to_document(report)))
        return 0
    from lora_jax.report.approaches.rows import print_approach

    print_approach(report)
    if arguments.out is not None:
        print(f"Report: {page}")
    return 0


def fit_approach(arguments: argparse.Namespace, table: "RunTable") -> "tuple[ApproachReport, Draw]":
    """Return the report of approach 1 or 2, and the function that draws it."""
    from lora_jax.scaling.optima.approach_report import ApproachReport
    from lora_jax.scaling.prediction.reach import out_of_reach
    from lora_jax.scaling.tables.last_steps import step_doubt
    from lora_jax.scaling.tables.provenance import describe_columns

    find = _find_envelope if arguments.law == "approach-1" else _find_isoflop
    found, result, draw = find(arguments, table)
    # curves are what approach 1 wants, and isoflop has named the table's doubts itself
    doubts = [line for line in table.doubts if line != step_doubt(table) and line not in found.warnings]
    report = ApproachReport(
        found=result,
        source=table.source,
        loss_unit=table.loss_unit,
        columns=describe_columns(table),
        warnings=(*doubts, *found.warnings, *out_of_reach(table, arguments.budget)),
        predictions=tuple(found.at(flops) for flops in arguments.budget),
        notes=tuple(table.notes),
    )
    return report, draw


def write_approach(report: "ApproachReport", draw: Draw, command: str, folder: Path) -> Path:
    """Write fit.json, figures/ and report.html of an approach; return the page's path."""
    from lora_jax.report.approaches.rows import approach_tables
    from lora_jax.report.kit.answer_page import Answer, write_answer

    heading = f"Approach {report.found.approach}: {report.source}"
    tables, warnings = approach_tables(report), [*report.warnings, *report.notes]
    answer = Answer(
        "fit", heading, command, report.verdict.words, tables, draw(), warnings, to_document(report)
    )
    return write_answer(answer, folder)


def _find_isoflop(arguments: argparse.Namespace, table: "RunTable") -> "tuple[IsoFlop, IsoFlopResult, Draw]":
    from lora_jax.scaling.optima.isoflop import isoflop
    from lora_jax.scaling.tables.cells import with_one_rate

    found = isoflop(
        with_one_rate(table),
        method=arguments.method or "parabola",
        budgets=arguments.budgets,
        within=arguments.within,
        n_bootstrap=arguments.bootstrap or 1000,
        seed=arguments.seed,
    )

    result = found.result()

    def figures() -> "list[Drawing]":
        from lora_jax.report.approaches.plots import plot_isoflop_curves
        from lora_jax.report.kit.drawing import Drawing

        curves = plot_isoflop_curves(result, table.loss_unit)
        words = (
            "Loss against N at each budget, the curve through it and its minimum; refused budgets are grey."
        )
        return [
            Drawing("isoflop", "Loss against size at equal compute (IsoFLOP curves)", words, curves),
            _draw_optima(result),
        ]

    return found, result, figures


def _find_envelope(
    arguments: argparse.Namespace, table: "RunTable"
) -> "tuple[Envelope, EnvelopeResult, Draw]":
    from lora_jax.scaling.optima.envelope import envelope
    from lora_jax.scaling.optima.training_curves import curves_of, read_curves

    folder = Path(arguments.table)
    if folder.is_dir():
        curves = read_curves(folder, n_column=table.n_column)
    else:
        curves, _ = curves_of(table)
    if not curves:
        raise LoraJaxError(
            f"{table.source} has no training curves: approach 1 needs the loss of each run at"
            " several D. Name the column of the run by --cluster, or give a table with more rows"
            " of each run."
        )
    found = envelope(curves, n_bootstrap=arguments.bootstrap or 400, seed=arguments.seed)

    result = found.result()

    def figures() -> "list[Drawing]":
        from lora_jax.report.approaches.plots import plot_envelope
        from lora_jax.report.kit.drawing import Drawing

        lines = [(c.n_params, c.flops.tolist(), c.loss.tolist()) for c in curves]
        drawn = plot_envelope(lines, result, table.loss_unit)
        words = "Training curves and their lower envelope, whose winners give N* and D* at each compute."
        return [
            Drawing("envelope", "The training curves and their lower envelope", words, drawn),
            _draw_optima(result),
        ]

    return found, result, figures


def _draw_optima(result: "IsoFlopResult | EnvelopeResult") -> "Drawing":
    from lora_jax.report.approaches.plots import plot_optima
    from lora_jax.report.kit.drawing import Drawing

    words = "The best N and D at each compute, and the power laws through them with their 95 % bands."
    return Drawing("optima", "N* and D* against compute", words, plot_optima(result))
