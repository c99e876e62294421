"""lora-jax design: from a budget to the runs that narrow the interval at the target, or to the next run."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.table_options import (
    add_table_options,
    command_line,
    load_table,
    parse_number,
    parse_numbers,
)
from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from lora_jax.report.figures import Drawing
    from lora_jax.scaling.intervals.uncertainty import Bootstrap

PRIOR = "besiroglu"
DRAWS = 200


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "design",
        help="turn a budget into runs (N, D), or name the next run worth buying",
        description="Without a table the law is a published one; with one, the law fitted to it, whose runs"
        " count as trained already.",
    )
    add_table_options(parser, optional=True)
    budget = parser.add_argument_group("the budget")
    budget.add_argument("--flops", metavar="C", help="training FLOPs for all runs together")
    budget.add_argument("--hours", type=float, metavar="H", help="hours on this machine, as measured")
    budget.add_argument("--next", action="store_true", help="one more run within the budget, not a design")
    aim = parser.add_argument_group("the aim")
    aim.add_argument("--target", metavar="N=7e8,D=1.4e10", help="where the loss is to be known")
    aim.add_argument("--target-flops", metavar="C", help="or: at the best N and D for this compute")
    aim.add_argument("--prior", default=PRIOR, metavar="FIT", help=f"published law (default: {PRIOR})")
    aim.add_argument("--noise", type=float, metavar="SD", help="of ln L between seeds (.01, or the fit's)")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-runs", type=int, default=20, metavar="K", help="default: 20")
    limits.add_argument("--max-tokens", metavar="D", help="tokens there are")
    limits.add_argument("--share-trunks", action="store_true", help="runs of one size share a trunk (wsd)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="design.json, figures/ and report.html go there"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.scaling.planning.forecast import runs_of

    table = load_table(arguments) if arguments.table is not None else None
    flops, speed = _budget(arguments)
    known = _prior(arguments) if table is None else _fitted(table, arguments)
    aim: dict[str, Any] = {"flops_per_second": speed}
    if arguments.target is not None:
        aim["target"] = parse_numbers("--target", [arguments.target])
    if arguments.target_flops is not None:
        aim["target_flops"] = parse_number("--target-flops", arguments.target_flops)
    if not {"target", "target_flops"} & set(aim):
        aim["target_flops"] = 10 * flops
    if arguments.max_tokens is not None:
        aim["max_tokens"] = parse_number("--max-tokens", arguments.max_tokens)
    if arguments.next:
        from lora_jax.scaling.planning.next_run import next_run

        if table is None:
            raise LoraJaxError("--next asks for one more run: name the table of the runs there are.")
        document = next_run(table, max_flops=flops, **known, **aim).to_json()
    else:
        from lora_jax.scaling.planning.plan_design import plan_design

        document = plan_design(
            budget_flops=flops, existing=table, max_runs=arguments.max_runs,
            share_trunks=arguments.share_trunks, **known, **aim,
        ).to_json()  # fmt: skip
    _show(arguments, document, [] if table is None else list(zip(*runs_of(table), strict=True)))
    return 0


def _budget(arguments: argparse.Namespace) -> tuple[float, float | None]:
    """Return the FLOPs, and the FLOPs per second where hours were asked for."""
    if (arguments.flops is None) == (arguments.hours is None):
        raise LoraJaxError("A design needs one budget: give --flops or --hours.")
    if arguments.flops is not None:
        return parse_number("--flops", arguments.flops), None
    from lora_jax.runs.machine import present_speed

    if not arguments.hours > 0:
        raise LoraJaxError(f"--hours is {arguments.hours:g}, it must be above 0: raise it.")
    speed = present_speed()
    return arguments.hours * 3600 * speed, speed


def _prior(arguments: argparse.Namespace) -> dict[str, Any]:
    from lora_jax.errors import nearest
    from lora_jax.scaling.intervals.difference import PUBLISHED_FITS
    from lora_jax.scaling.laws import find_law

    if arguments.prior not in PUBLISHED_FITS:
        raise LoraJaxError(
            f"No published fit is called {arguments.prior!r}{nearest(arguments.prior, PUBLISHED_FITS)}:"
            " name one of these."
        )
    found = PUBLISHED_FITS[arguments.prior]
    noise = 0.01 if arguments.noise is None else arguments.noise
    return {"law": find_law(found.law), "params": found.params, "noise_sd": noise}


def _fitted(table: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return Chinchilla's law fitted to the runs, its noise, and draws of its parameters."""
    from lora_jax.scaling.fitting.fit import fit
    from lora_jax.scaling.intervals.uncertainty import bootstrap
    from lora_jax.scaling.laws import CHINCHILLA

    found = fit(CHINCHILLA, table)
    replicates: Bootstrap = bootstrap(found, DRAWS)
    noise = found.problem.noise_sd(found.theta) if arguments.noise is None else arguments.noise
    if noise is None:
        raise LoraJaxError(
            f"{table.source} has as many runs as the law has parameters, so the noise is not known: give"
            " --noise."
        )
    return {"law": CHINCHILLA, "params": found.params, "noise_sd": noise, "draws": replicates.params}


def _show(arguments: argparse.Namespace, document: dict[str, Any], existing: Sequence[Any]) -> None:
    from lora_jax.report import design_rows

    is_design = "cells" in document
    page = None
    if arguments.out is not None:
        from lora_jax.report.answer_page import Answer, write_answer

        tables = design_rows.design_tables(document) if is_design else design_rows.next_run_tables(document)
        words = design_rows.promise(document) if is_design else document["words"]
        drawings = _draw(document, existing) if is_design else []
        page = write_answer(
            Answer(
                "design", "Which runs to train", command_line(sys.argv[1:]), words, tables, drawings,
                document["warnings"], document,
            ),
            arguments.out,
        )  # fmt: skip
    if arguments.json:
        print(json.dumps(document, indent=1, allow_nan=False))
        return
    (design_rows.print_design if is_design else design_rows.print_next_run)(document)
    if page is not None:
        print(f"Report: {page}")


def _draw(document: dict[str, Any], existing: Sequence[Any]) -> "list[Drawing]":
    from lora_jax.report.design_plots import plot_design
    from lora_jax.report.figures import Drawing

    words = "The runs to train by N and D, larger the dearer, with lines of equal compute and the target."
    return [Drawing("design", "The design", words, plot_design(document, existing))]
