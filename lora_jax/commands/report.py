"""lora-jax report: figures and the page of a results folder, whatever kind of sweep or comparison it is."""

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="draw the figures of a results folder and write its report.html",
        description="Draw the figures of a results folder and write report.html, which opens offline.",
    )
    parser.add_argument(
        "folder",
        type=Path,
        help="results folder; it holds fits.json, comparison.json or finetune_laws.json (`lora-jax fit`"
        " writes them) or incontext.json",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.commands.table_options import renew_table
    from lora_jax.digests import doubting

    renew_table(arguments.folder)
    with doubting("restore it, or make it again by the command that made it"):
        print(write_page_of(arguments.folder))
    return 0


def write_page_of(folder: Path) -> Path:
    """Write the page of a results folder, whichever it is, and its figures; return the page's path."""
    from lora_jax.comparison.folder import is_finetuning
    from lora_jax.comparison.incontext_folder import is_incontext
    from lora_jax.scaling.finetuning.study_runs import is_study

    if is_incontext(folder):  # first: it holds fine-tuning runs, too
        from lora_jax.report.incontext.page import write_incontext_report

        return write_incontext_report(folder)
    if is_study(folder):
        from lora_jax.report.finetuning.page import write_study_page
        from lora_jax.report.kit.sweep_file import read_sweep_file
        from lora_jax.scaling.finetuning.study_results import read_study_report

        return write_study_page(read_study_report(folder), folder, read_sweep_file(folder).question)
    if is_finetuning(folder):
        from lora_jax.report.methods.page import write_method_report

        return write_method_report(folder)
    from lora_jax.report.sweep.page import write_report

    return write_report(folder)
