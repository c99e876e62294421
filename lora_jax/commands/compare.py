"""lora-jax compare: which law predicts the larger runs of a table from its smaller ones?"""

import argparse
import json
from pathlib import Path
from typing import Any

from lora_jax.commands.table_options import add_table_options, load_table


def add(commands: Any) -> None:
    parser = commands.add_parser("compare", help="rank the laws that fit a table by what they predict unseen")
    add_table_options(parser)
    parser.add_argument("--laws", nargs="+", metavar="NAME", help="these only (default: all that fit)")
    parser.add_argument("--objective", default="huber", help="huber (default), l1, squared, least-squares")
    parser.add_argument("--out", type=Path, metavar="DIR", help="comparison.json and figures/ go there")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.scaling.comparing.comparison import compare

    found = compare(load_table(arguments), arguments.laws, objective=arguments.objective).to_dict()
    if arguments.out is not None:
        from lora_jax.files import write_atomically
        from lora_jax.report.comparison_plots import plot_ranking, plot_reach
        from lora_jax.report.style import save_figure

        write_atomically(arguments.out / "comparison.json", json.dumps(found, indent=1) + "\n")
        save_figure(plot_ranking(found), arguments.out / "figures", "ranking")
        save_figure(plot_reach(found), arguments.out / "figures", "reach")
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    from lora_jax.report.fit_rows import comparison_rows
    from lora_jax.report.tables import make_console, print_table

    console = make_console()
    console.print(found["words"], markup=False, highlight=False)
    console.print()
    table = comparison_rows({"comparison": found, "law": None})
    if table is not None:
        print_table(table, console)
    for gone in found["excluded"]:
        console.print(f"not tried: {gone['name']}: {gone['reason']}", markup=False, highlight=False)
    return 0
