"""lora-jax report: figures and the pages of a results folder, from the JSON files that it holds."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
        " writes them), or incontext.json, ablation.json, surface.json, transfer.json or latency.json",
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
    answers = [write for name, write in ANSWERS.items() if (folder / name).exists()]
    pages = [write(folder) for write in answers]
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


def _question_of(folder: Path) -> str:
    """Return what the config of a sweep asks; nothing where the folder is of no sweep."""
    from lora_jax.report.kit.sweep_file import read_sweep_file

    return read_sweep_file(folder).question if (folder / "sweep.json").exists() else ""


def _write_ablation(folder: Path) -> Path:
    from lora_jax.report.ablation.page import write_ablation_page
    from lora_jax.scaling.recipes.documents import read_ablation

    return write_ablation_page(read_ablation(folder), folder, _question_of(folder))


def _write_surface(folder: Path) -> Path:
    from lora_jax.report.surface.page import write_surface_page
    from lora_jax.scaling.surfaces.documents import read_surface

    return write_surface_page(read_surface(folder), folder, _question_of(folder))


def _write_transfer(folder: Path) -> Path:
    from lora_jax.report.transfer.page import write_transfer_page
    from lora_jax.scaling.rates.documents import read_transfer

    return write_transfer_page(read_transfer(folder), folder, _question_of(folder))


def _write_latency(folder: Path) -> Path:
    from lora_jax.report.latency.documents import load_latency
    from lora_jax.report.latency.page import write_latency

    return write_latency(load_latency(folder), folder)


# The pages of single answers, by the file that each is drawn from.
ANSWERS: Mapping[str, Callable[[Path], Path]] = {
    "ablation.json": _write_ablation,
    "surface.json": _write_surface,
    "transfer.json": _write_transfer,
    "latency.json": _write_latency,
}
