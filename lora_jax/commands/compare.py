"""lora-jax compare: which law predicts the larger runs of a table from its smaller ones?"""

import argparse
import sys
from pathlib import Path
from typing import Any

from lora_jax.commands.number_options import add_number
from lora_jax.commands.table_options import add_table_options, command_line, load_table
from lora_jax.documents import to_document
from lora_jax.files import to_json
from lora_jax.ranges import HUBER


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="rank scaling laws by how well they predict held-out larger runs",
        description="Fit each law to the smaller runs of a table and predict the larger ones. The law with"
        " the smallest error comes first.",
    )
    add_table_options(parser)
    parser.add_argument(
        "--laws",
        nargs="+",
        metavar="NAME",
        help="compare only these laws (default: every law that the table can fit)",
    )
    parser.add_argument(
        "--objective",
        default="huber",
        help="what the fit minimises: huber, l1, squared or least-squares (default: huber)",
    )
    add_number(
        parser,
        "--delta",
        HUBER,
        help="where the Huber loss turns from squared to linear, in ln loss (default: 1e-3)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write comparison.json, figures/ and report.html to this folder",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.commands.waiting import waiting
    from lora_jax.report.fit.rows import comparison_rows, excluded_rows
    from lora_jax.scaling.comparing.comparison import compare
    from lora_jax.scaling.tables.cells import with_one_rate
    from lora_jax.scaling.verdict import verdict_of

    runs = with_one_rate(load_table(arguments))
    with waiting():
        found = compare(runs, arguments.laws, objective=arguments.objective, delta=arguments.delta).report()
    table = comparison_rows(found)
    # a ranking says nothing where the table is doubtful
    doubt = f"{verdict_of(found.warnings).words}. " if found.warnings else ""
    words = f"{doubt}{found.words}"
    document = to_document(found)
    if arguments.out is not None:
        from lora_jax.report.fit.figures import draw_comparison
        from lora_jax.report.kit.answer_page import Answer, write_answer

        page = write_answer(
            Answer(
                "comparison",
                f"Which form? {arguments.table}",
                command_line(sys.argv[1:]),
                words.replace(". ", ".\n", 1),  # the first sentence is the verdict
                [table, excluded_rows(found)],
                list(draw_comparison(found)),
                found.notes,
                document,
            ),
            arguments.out,
        )
    if arguments.json:
        print(to_json(document))
        return 0
    from lora_jax.report.kit.tables import make_console, print_table

    console = make_console()
    console.print(words, markup=False, highlight=False)
    console.print()
    if table is not None:
        print_table(table, console)
    for gone in found.excluded:
        console.print(f"not tried: {gone.name}: {gone.reason}", markup=False, highlight=False)
    for note in found.notes:
        console.print(f"note: {note}", style="dim", markup=False, highlight=False)
    if arguments.out is not None:
        print(f"Report: {page}")
    return 0
