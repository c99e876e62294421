"""lora-jax report: figures and the pages of a results folder, from the JSON files that it holds."""

import argparse
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

# The pages of single answers, by the file that each is drawn from: modules with `redraw(folder)`, which are
# imported when they are needed.
ANSWERS: Mapping[str, str] = {
    f"{name}.json": f"lora_jax.report.{name}.page"
    for name in ("ablation", "surface", "transfer", "latency", "speedup")
}
# What report.html of a sweep is made of.
SWEEPS = ("fits.json", "comparison.json", "finetune_laws.json", "incontext.json")


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
        " writes them), or incontext.json, ablation.json, surface.json, transfer.json, latency.json or"
        " speedup.json",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.commands.table_options import renew_table
    from lora_jax.digests import doubting

    renew_table(arguments.folder)
    with doubting("restore it, or make it again by the command that made it"):
        for page in write_pages_of(arguments.folder):
            print(page)
    return 0


def write_pages_of(folder: Path) -> list[Path]:
    """Write every page that a folder holds the answer for, and the figures; return the pages' paths."""
    found = [import_module(module) for name, module in ANSWERS.items() if (folder / name).exists()]
    pages = [module.redraw(folder) for module in found]
    if not pages or any((folder / name).exists() for name in SWEEPS):
        pages.insert(0, write_page_of(folder))
    return pages


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
