"""lora-jax design: from a budget to the runs that narrow the interval at the target, or to the next run."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.comma_lists import CommaText, add_list, add_mesh
from lora_jax.commands.number_options import add_number
from lora_jax.commands.table_options import (
    add_table_options,
    command_line,
    load_table,
    parse_numbers,
)
from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.files import to_json
from lora_jax.ranges import QUANTITY, Range, whole

if TYPE_CHECKING:
    from lora_jax.compiling.pricing import Speed
    from lora_jax.report.kit.drawing import Drawing
    from lora_jax.scaling.planning.design_report import DesignReport, NextRunReport
    from lora_jax.scaling.tables.run_table import RunTable

PRIOR = "besiroglu"
FLOPS = Range(1, 1e60)
HOURS = Range(0, 1e9, above=True)  # 100,000 years
NOISE = Range(1e-8, 10)  # of ln L: below it is rounding
UTILISATION = Range(0, 1, above=True)  # of the peak
RUNS = whole(1, 1000)  # a lattice of 10 sizes and 8 ratios is the largest that is tried


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "design",
        help="plan the runs (N, D) for a budget, or pick the next run",
        description="Plan the training runs that tell you most about the loss at a target. Without a table"
        " the plan starts from a published law. With a table it starts from the law fitted to it, and its"
        " runs count as already trained.",
    )
    add_table_options(parser, optional=True)
    _add_budget(parser.add_argument_group("the budget"))
    _add_aim(parser.add_argument_group("the aim"))
    _add_price(parser.add_argument_group("the price on a --target of devices"))
    _add_limits(parser.add_argument_group("limits"))
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write design.json, figures/ and report.html to this folder"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def _add_budget(budget: Any) -> None:
    add_number(
        budget, "--flops", FLOPS, is_quantity=True, metavar="C", help="training FLOPs for all runs together"
    )
    add_number(
        budget,
        "--hours",
        HOURS,
        metavar="H",
        help="hours on this machine, or on the devices of --target, at the speed that we estimate",
    )
    budget.add_argument(
        "--next",
        action="store_true",
        help="choose a single next run within the budget instead of a whole design",
    )


def _add_aim(aim: Any) -> None:
    add_list(
        aim,
        CommaText("--target", "N=7e8,D=1.4e10", ("N", "D")),
        action="append",
        metavar="N=7e8,D=1.4e10",
        help="size and tokens at which you want to know the loss. Or devices that the runs will use, such as"
        " v5e:4x4: then the plan gives the hours there. Give the option twice for both",
    )
    add_number(
        aim,
        "--target-flops",
        FLOPS,
        is_quantity=True,
        metavar="C",
        help="instead of --target: the best N and D for this compute (default: 10 times the budget)",
    )
    aim.add_argument(
        "--prior",
        default=PRIOR,
        metavar="FIT",
        help=f"published law that the plan starts from, without a table (default: {PRIOR})",
    )
    add_number(
        aim,
        "--noise",
        NOISE,
        metavar="SD",
        help="standard deviation of ln L between seeds (default: the fit's, or 0.01 without a table)",
    )


def _add_price(price: Any) -> None:
    price.add_argument(
        "--like",
        type=Path,
        metavar="CONFIG",
        help="compile the largest step of this config for the target, and price the runs by its"
        " estimated time",
    )
    add_mesh(
        price,
        help="how to split the work over the devices, as `lora-jax compile` explains (default: all devices on"
        " fsdp)",
    )
    add_number(
        price,
        "--utilisation",
        UTILISATION,
        metavar="SHARE",
        help="share of the devices' peak speed to assume (default, without --like: 0.3)",
    )


def _add_limits(limits: Any) -> None:
    add_number(limits, "--max-runs", RUNS, default=20, metavar="K", help="plan at most K runs (default: 20)")
    add_number(
        limits,
        "--max-tokens",
        QUANTITY,
        is_quantity=True,
        metavar="D",
        help="tokens you have; no run trains on more (default: no limit)",
    )
    limits.add_argument(
        "--share-trunks",
        action="store_true",
        help="let runs of one size branch off one long run, so that each pays only for its own"
        " cooldown (wsd schedule)",
    )


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.commands.waiting import waiting
    from lora_jax.scaling.planning.forecast import runs_of
    from lora_jax.scaling.tables.cells import with_one_rate

    table = with_one_rate(load_table(arguments)) if arguments.table is not None else None
    speed = _speed_of_target(arguments)
    flops, here = _budget(arguments, speed)
    with waiting():
        report = _plan(arguments, table, flops, here)
    if speed is not None:
        report = _price(report, speed)
    _show(arguments, report, [] if table is None else list(zip(*runs_of(table), strict=True)))
    return 0


def _plan(
    arguments: argparse.Namespace, table: "RunTable | None", flops: float, speed: float | None
) -> "DesignReport | NextRunReport":
    from lora_jax.scaling.planning.known_law import law_of_runs, published_law

    noise = arguments.noise
    known = vars(published_law(arguments.prior, noise) if table is None else law_of_runs(table, noise))
    aim: dict[str, Any] = {"flops_per_second": speed}
    points = [text for text in arguments.target or [] if "=" in text]
    if points:
        aim["target"] = parse_numbers("--target", points, QUANTITY)
    if arguments.target_flops is not None:
        aim["target_flops"] = arguments.target_flops
    if not {"target", "target_flops"} & set(aim):
        aim["target_flops"] = 10 * flops
    if arguments.max_tokens is not None:
        aim["max_tokens"] = arguments.max_tokens
    notes = () if table is None else table.notes
    if arguments.next:
        from lora_jax.scaling.planning.next_run import next_run

        if table is None:
            raise LoraJaxError("--next chooses one more run: give the table of the runs that you have.")
        return next_run(table, max_flops=flops, **known, **aim).report(notes)
    from lora_jax.scaling.planning.plan_design import plan_design

    return plan_design(
        budget_flops=flops,
        existing=table,
        max_runs=arguments.max_runs,
        share_trunks=arguments.share_trunks,
        **known,
        **aim,
    ).report(notes)


def _speed_of_target(arguments: argparse.Namespace) -> "Speed | None":
    """Return how fast the devices of --target train; None where it names none."""
    named = [text for text in arguments.target or [] if "=" not in text]
    if not named:
        for option in ("like", "mesh", "utilisation"):
            if getattr(arguments, option) is not None:
                raise LoraJaxError(f"--{option} prices devices: name them, such as --target v5e:4x4.")
        return None
    if len(named) > 1:
        raise LoraJaxError(f"--target names devices twice, {' and '.join(named)}: name one of them.")
    from lora_jax.compiling.pricing import assume_speed, estimate_speed, largest_step
    from lora_jax.compiling.start import compile_config
    from lora_jax.runs.machine import ASSUMED_UTILISATION
    from lora_jax.target import parse_target

    target = parse_target(named[0])
    if arguments.like is None:
        if arguments.mesh is not None:
            raise LoraJaxError(
                "--mesh says how a compiled step uses the devices: name its config with --like."
            )
        return assume_speed(target, arguments.utilisation or ASSUMED_UTILISATION)
    if arguments.utilisation is not None:
        raise LoraJaxError("--like takes the utilisation of the compiled step: leave out --utilisation.")
    report = compile_config(arguments.like, [], target, arguments.mesh)
    return estimate_speed(report, target, {largest_step(report).run_ids[0]: 1.0})


def _budget(arguments: argparse.Namespace, speed: "Speed | None") -> tuple[float, float | None]:
    """Return the FLOPs, and the FLOPs per second where they are known; of two bounds the slower."""
    if (arguments.flops is None) == (arguments.hours is None):
        raise LoraJaxError("A design needs one budget: give --flops or --hours.")
    if arguments.flops is not None:
        return arguments.flops, None if speed is None else speed.slowest
    if speed is not None:
        return arguments.hours * 3600 * speed.slowest, speed.slowest
    from lora_jax.runs.machine import present_speed

    found = present_speed()
    return arguments.hours * 3600 * found, found


def _price(report: "DesignReport | NextRunReport", speed: "Speed") -> "DesignReport | NextRunReport":
    """Return the report with what its runs cost on the target, in a sentence."""
    from lora_jax.scaling.planning.design_report import DesignReport

    if isinstance(report, DesignReport):
        return replace(report, notes=(speed.describe(report.spent_flops), *report.notes))
    flops = 0.0 if report.choice is None else report.choice.paid_flops
    return replace(report, notes=(speed.describe(flops), *report.notes)) if flops else report


def _show(
    arguments: argparse.Namespace, report: "DesignReport | NextRunReport", existing: Sequence[Any]
) -> None:
    from lora_jax.report.design import rows
    from lora_jax.scaling.planning.design_report import DesignReport

    document, page = to_document(report), None
    if arguments.out is not None:
        from lora_jax.report.kit.answer_page import Answer, write_answer

        if isinstance(report, DesignReport):
            tables, words = rows.design_tables(report), rows.promise(report)
            drawings = _draw(report, existing)
        else:
            tables, words, drawings = rows.next_run_tables(report), report.words, []
        page = write_answer(
            Answer(
                "design",
                "Which runs to train",
                command_line(sys.argv[1:]),
                words,
                tables,
                drawings,
                [*report.warnings, *report.notes],
                document,
            ),
            arguments.out,
        )
    if arguments.json:
        print(to_json(document))
        return
    if isinstance(report, DesignReport):
        rows.print_design(report)
    else:
        rows.print_next_run(report)
    if page is not None:
        print(f"Report: {page}")


def _draw(report: "DesignReport", existing: Sequence[Any]) -> "list[Drawing]":
    from lora_jax.report.design.plots import plot_design
    from lora_jax.report.kit.drawing import Drawing

    words = "The runs to train by N and D, larger the dearer, with lines of equal compute and the target."
    return [Drawing("design", "The runs of the design", words, plot_design(report, existing))]
