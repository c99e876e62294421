"""lora-jax ablation: train several recipes, and say which of them a scaling law describes."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.caller import INSTALLED, Caller
from lora_jax.commands.reporting import (
    Reporting,
    add_training,
    refuse_training,
    show_report,
    train_and_report,
)
from lora_jax.commands.table_options import command_line
from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from lora_jax.runs.experiment import Experiment
    from lora_jax.scaling.recipes.results import AblationReport

LAW = "chinchilla"
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")


def add(commands: Any) -> None:
    add_options(
        commands.add_parser(
            "ablation",
            help="train several recipes, and find which of them a scaling law describes",
            description="Train a sweep whose runs differ in the recipe: the rule of the learning rate, the"
            " batch, the warmup, the parametrisation or the optimizer. Fit one law to each recipe, and say"
            " how far its runs lie off the law, with intervals. If you stop it, run it again.",
        ),
        INSTALLED,
    )


def add_options(parser: argparse.ArgumentParser, caller: Caller) -> None:
    """Add the arguments of `run` to a parser."""
    parser.add_argument(
        "config", type=Path, help="config file of a sweep, or the results folder of a finished one"
    )
    add_training(parser, caller, "ablation")
    parser.add_argument(
        "--out", type=Path, help=f"results folder (default: results/CONFIG in {caller.place})"
    )
    parser.add_argument(
        "--law", default=LAW, metavar="NAME", help=f"law of N and D to fit to each recipe (default: {LAW})"
    )
    parser.add_argument("--json", action="store_true", help="print ablation.json instead of tables")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.report.ablation.page import PAGE, write_ablation_page
    from lora_jax.scaling.recipes.ablation import choose_law

    choose_law(arguments.law)
    if arguments.config.suffix.lower() in TABLES:
        raise LoraJaxError(
            f"{arguments.config} is a table, which does not say how its runs were trained: give a config or a"
            " results folder. `lora-jax fit TABLE --law NAME --by COLUMN` fits a law to each recipe of it."
        )
    if arguments.config.is_dir():
        return run_folder(arguments)
    reporting = Reporting(
        page=PAGE,
        words=[] if arguments.law == LAW else [f"--law {arguments.law}"],
        doubt=doubt_recipes,
        analyse=lambda folder, command: compare_folder(folder, command, arguments.law),
        write=write_ablation_page,
        show=lambda report, page: show(report, page, arguments.json),
    )
    return train_and_report(arguments, reporting)


def run_folder(arguments: argparse.Namespace) -> int:
    """Report on the finished runs of a results folder, beside them or in another folder."""
    from lora_jax.commands.table_options import renew_table
    from lora_jax.commands.waiting import waiting
    from lora_jax.report.ablation.page import write_ablation_page

    refuse_training(arguments)
    folder = arguments.config
    renew_table(folder)
    with waiting():
        report = compare_folder(folder, command_line(sys.argv[1:]), arguments.law)
    show(report, write_ablation_page(report, arguments.out or folder), arguments.json)
    return 0


def compare_folder(folder: Path, command: str, law: str) -> "AblationReport":
    """Compare the recipes of the finished runs in a results folder."""
    from lora_jax.scaling.rates.records import read_folder
    from lora_jax.scaling.recipes.ablation import compare_recipes
    from lora_jax.scaling.tables.table import read_table

    runs = read_folder(folder).runs
    return compare_recipes(read_table(folder), runs, law=law, command=command)


def doubt_recipes(experiment: "Experiment") -> list[str]:
    """Refuse a config of one recipe before it trains."""
    from lora_jax.commands.rate_sweeps import untrained
    from lora_jax.scaling.recipes.sorting import sort_recipes

    sort_recipes(untrained(experiment).runs, f"{experiment.name}.py")
    return []


def show(report: "AblationReport", page: Path, as_json: bool) -> None:
    """Print the answer, and where its page is."""
    from lora_jax.report.ablation.terminal import print_ablation

    show_report(report, page, as_json, print_ablation)
