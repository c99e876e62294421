"""lora-jax fit --law finetuning-* --by method --crossover: a law of each method, and where methods cross."""

import argparse
import sys
from typing import TYPE_CHECKING

from lora_jax.commands.fit_options import EVERY
from lora_jax.commands.table_options import command_line
from lora_jax.files import to_json

if TYPE_CHECKING:
    from lora_jax.scaling.tables.table import RunTable


def run_method_laws(arguments: argparse.Namespace, table: "RunTable") -> int:
    """Fit the methods of a table together, and print or write the report."""
    from lora_jax.commands.waiting import waiting
    from lora_jax.documents import to_document
    from lora_jax.scaling.finetuning.study import REPLICATES, Inquiry, analyse

    names = () if arguments.crossover == [EVERY] else tuple(arguments.crossover)
    asked = Inquiry(
        law=arguments.law,
        by=tuple(arguments.by),
        names=names,
        targets=tuple(arguments.target),
        n_bootstrap=arguments.bootstrap or REPLICATES,
        seed=arguments.seed,
        command=command_line(sys.argv[1:]),
    )
    with waiting():
        report = analyse(table, asked)
        page = None
        if arguments.out is not None:
            from lora_jax.report.finetuning.law_page import write_finetuning_page

            page = write_finetuning_page(report, arguments.out)
    if arguments.json:
        print(to_json(to_document(report)))
        return 0
    from lora_jax.report.finetuning.law_terminal import print_finetuning

    print_finetuning(report)
    if page is not None:
        print(f"Report: {page}")
    return 0
