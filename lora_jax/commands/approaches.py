"""lora-jax fit --law approach-1 and approach-2: N* and D* read off the runs, without a law of the loss."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.table_options import command_line, parse_number
from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from lora_jax.report.figures import Drawing
    from lora_jax.scaling.tables.table import RunTable


def run_approach(arguments: argparse.Namespace, table: "RunTable") -> int:
    """Fit, print or write what approach 1 or 2 finds; the first line is the verdict."""
    find = _find_envelope if arguments.law == "approach-1" else _find_isoflop
    found, figures = find(arguments, table)
    budgets = [parse_number("--budget", text) for text in arguments.budget]
    document: dict[str, Any] = {**found.to_json(), "loss_unit": table.loss_unit}
    document["predictions"] = [{"flops": c, **found.at(c)} for c in budgets]
    if arguments.out is not None:
        from lora_jax.report.answer_page import Answer, write_answer
        from lora_jax.report.approach_rows import approach_tables

        number = document["approach"]
        page = write_answer(
            Answer(
                "fit", f"Approach {number}: {table.source}", command_line(sys.argv[1:]), document["verdict"],
                approach_tables(document), figures(document), document["warnings"], document,
            ),
            arguments.out,
        )  # fmt: skip
    if arguments.json:
        print(json.dumps(document, indent=1))
        return 0
    from lora_jax.report.approach_rows import print_approach

    print_approach(document)
    if arguments.out is not None:
        print(f"Report: {page}")
    return 0


def _find_isoflop(arguments: argparse.Namespace, table: "RunTable") -> Any:
    from lora_jax.scaling.optima.isoflop import isoflop

    budgets = None
    if arguments.budgets is not None:
        budgets = [parse_number("--budgets", text) for text in arguments.budgets]
    found = isoflop(
        table, method=arguments.method, budgets=budgets, within=arguments.within,
        n_bootstrap=arguments.bootstrap or 1000, seed=arguments.seed,
    )  # fmt: skip

    def figures(document: dict[str, Any]) -> "list[Drawing]":
        from lora_jax.report.figures import Drawing
        from lora_jax.report.isoflop_plots import plot_isoflop_curves

        curves = plot_isoflop_curves(document, table.loss_unit)
        words = (
            "Loss against N at each budget, the curve through it and its minimum; refused budgets are grey."
        )
        return [Drawing("isoflop", "IsoFLOP curves", words, curves), _draw_optima(document)]

    return found, figures


def _find_envelope(arguments: argparse.Namespace, table: "RunTable") -> Any:
    from lora_jax.scaling.optima.envelope import envelope
    from lora_jax.scaling.optima.training_curves import curves_of, read_curves

    folder = Path(arguments.table)
    if folder.is_dir():
        curves = read_curves(folder, n_column=table.n_column)
    else:
        curves, _ = curves_of(table)
    if not curves:
        raise LoraJaxError(
            f"{table.source} has no training curves: approach 1 needs runs seen at several D, of one cluster"
            " or one size."
        )
    found = envelope(curves, n_bootstrap=arguments.bootstrap or 400, seed=arguments.seed)

    def figures(document: dict[str, Any]) -> "list[Drawing]":
        from lora_jax.report.figures import Drawing
        from lora_jax.report.isoflop_plots import plot_envelope

        lines = [(c.n_params, c.flops.tolist(), c.loss.tolist()) for c in curves]
        drawn = plot_envelope(lines, document, table.loss_unit)
        words = "Training curves and their lower envelope, whose winners give N* and D* at each compute."
        return [Drawing("envelope", "The lower envelope", words, drawn), _draw_optima(document)]

    return found, figures


def _draw_optima(document: dict[str, Any]) -> "Drawing":
    from lora_jax.report.figures import Drawing
    from lora_jax.report.isoflop_plots import plot_optima

    words = "The best N and D at each compute, and the power laws through them with their 95 % bands."
    return Drawing("optima", "N* and D* against compute", words, plot_optima(document))
