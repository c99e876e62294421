"""lora-jax compare: which law predicts the larger runs of a table from its smaller ones?"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lora_jax.commands.table_options import add_table_options, command_line, load_table


def add(commands: Any) -> None:
    parser = commands.add_parser("compare", help="rank laws by the larger runs that they predict")
    add_table_options(parser)
    parser.add_argument("--laws", nargs="+", metavar="NAME", help="these only (default: all that fit)")
    parser.add_argument("--objective", default="huber", help="huber (default), l1, squared, least-squares")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="comparison.json, figures/ and report.html go there"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.report.fit_rows import comparison_rows
    from lora_jax.scaling.comparing.comparison import compare

    found = compare(load_table(arguments), arguments.laws, objective=arguments.objective).to_dict()
    table = comparison_rows({"comparison": found, "law": None})
    if arguments.out is not None:
        from lora_jax.report.answer_page import Answer, write_answer
        from lora_jax.report.fit_figures import draw_comparison

        excluded = [f"not tried: {gone['name']}: {gone['reason']}" for gone in found["excluded"]]
        page = write_answer(
            Answer(
                "comparison", f"Which form? {arguments.table}", command_line(sys.argv[1:]), found["words"],
                [table], list(draw_comparison(found)), excluded, found,
            ),
            arguments.out,
        )  # fmt: skip
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    from lora_jax.report.tables import make_console, print_table

    console = make_console()
    console.print(found["words"], markup=False, highlight=False)
    console.print()
    if table is not None:
        print_table(table, console)
    for gone in found["excluded"]:
        console.print(f"not tried: {gone['name']}: {gone['reason']}", markup=False, highlight=False)
    if arguments.out is not None:
        print(f"Report: {page}")
    return 0
