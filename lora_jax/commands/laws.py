"""lora-jax laws: the laws that can be fitted."""

import argparse
from typing import Any

HOW = (
    "Objectives: huber, l1, squared, least-squares, quantile(SHARE). --bound moves bounds, --by fits every"
    " group of rows."
)


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "laws",
        help="list the scaling laws with their formulas and sources",
        description="List the scaling laws that `fit --law` knows, with their formulas, the columns they need"
        " and their sources.",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.report.kit.tables import Table, make_console, print_table
    from lora_jax.scaling.laws import LAWS
    from lora_jax.scaling.tables.table import VARIABLES

    rows = tuple((name, law.formula, ", ".join(law.variables), law.reference) for name, law in LAWS.items())
    columns = ", ".join(f"{letter} {column}" for letter, column in VARIABLES.items())
    more = (
        ("power", "y = k x1^a x2^b ..., rising or falling", "--of COLUMNS", "any column, by --response"),
        (
            "approach-1",
            "N*, D* by the lower envelope of training curves",
            "N, D, C",
            "2203.15556, section 3.1",
        ),
        ("approach-2", "N*, D* by the minimum of the loss at each budget", "N, C", "2203.15556, section 3.2"),
    )
    print_table(
        Table(
            "Laws", ("name", "formula", "variables", "source"), rows + more, note=f"Columns: {columns}. {HOW}"
        ),
        make_console(),
    )
    return 0
