"""Sweeps of learning rates: what `transfer` and `surface` read, train and report alike."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.caller import Caller
from lora_jax.commands.reporting import (
    Reporting,
    add_training,
    refuse_training,
    show_report,
    train_and_report,
)
from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from lora_jax.runs.experiment import Experiment
    from lora_jax.scaling.rates.transfer import RateRuns


@dataclass(frozen=True)
class Inquiry:
    """What a command asks of a sweep of learning rates.

    Attributes:
        command: Its name.
        page: The file name of its page.
        doubt: What runs cannot tell whatever their losses are.
        analyse: The report on runs: (runs, arguments, command line).
        write: Writes the page of a report: (report, folder, question); returns its path.
        show: Prints a report.
        words: The options that belong to the command line that made a report.
    """

    command: str
    page: str
    doubt: "Callable[[RateRuns], list[str]]"
    analyse: "Callable[[RateRuns, argparse.Namespace, str], Any]"
    write: Callable[[Any, Path, str], Path]
    show: Callable[[Any], None]
    words: Callable[[argparse.Namespace], list[str]]


def add_sweep_options(parser: argparse.ArgumentParser, caller: Caller, command: str) -> None:
    """Add the arguments that say which runs are meant and how to train them."""
    parser.add_argument(
        "config",
        type=Path,
        nargs="?",
        help="config file of a sweep, or the results folder of a finished one",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help=f"results folder (default: results/CONFIG in {caller.place}; with --table nothing is"
        " written unless you name one)",
    )
    parser.add_argument("--json", action="store_true", help=f"print {command}.json instead of tables")
    table = parser.add_argument_group("in place of a config")
    table.add_argument(
        "--table", type=Path, metavar="FILE", help="table of finished runs with a column of learning rates"
    )
    table.add_argument(
        "--map",
        nargs="+",
        default=[],
        metavar="OURS=THEIRS",
        help="name a column of the table: loss, base_learning_rate, n_params, n_tokens, batch_size, d_model",
    )
    table.add_argument(
        "--where",
        nargs="+",
        default=[],
        metavar="CONDITION",
        help="keep only the rows of the table that meet every condition",
    )
    add_training(parser, caller, command)


def run(arguments: argparse.Namespace, inquiry: Inquiry) -> int:
    """Train or read the runs, and answer; return the exit status."""
    if (arguments.config is None) == (arguments.table is None):
        got = "neither" if arguments.config is None else "both"
        raise LoraJaxError(f"{inquiry.command} got {got} of a config and --table: give one of them.")
    if arguments.table is not None:
        return _run_table(arguments, inquiry)
    if arguments.config.is_dir():
        return _run_folder(arguments, inquiry)
    return _run_config(arguments, inquiry)


def _run_config(arguments: argparse.Namespace, inquiry: Inquiry) -> int:
    """Train the sweep of a config, and report on it in its results folder."""
    from lora_jax.scaling.rates.records import read_folder

    reporting = Reporting(
        page=inquiry.page,
        words=inquiry.words(arguments),
        doubt=lambda experiment: inquiry.doubt(untrained(experiment)),
        analyse=lambda folder, command: inquiry.analyse(read_folder(folder), arguments, command),
        write=inquiry.write,
        show=lambda report, page: show_report(report, page, arguments.json, inquiry.show),
    )
    return train_and_report(arguments, reporting)


def _run_folder(arguments: argparse.Namespace, inquiry: Inquiry) -> int:
    """Report on the finished runs of a results folder, beside them or in another folder."""
    from lora_jax.scaling.rates.records import read_folder

    refuse_training(arguments)
    folder = arguments.config
    words = [str(folder), *inquiry.words(arguments)]
    return _conclude(read_folder(folder), arguments, words, arguments.out or folder, inquiry)


def _run_table(arguments: argparse.Namespace, inquiry: Inquiry) -> int:
    """Report on the rows of a table; files are written only with --out."""
    from lora_jax.commands.table_options import parse_pairs, renew_table
    from lora_jax.scaling.rates.tables import rate_runs
    from lora_jax.scaling.tables.table import read_table

    if arguments.dry_run:
        raise LoraJaxError("--plan is for a config, and --table holds finished runs: leave out one of them.")
    renew_table(arguments.table)
    table = read_table(arguments.table, parse_pairs("--map", arguments.map), where=arguments.where)
    words = ["--table", str(arguments.table)]
    words += ["--map", *arguments.map] if arguments.map else []
    words += ["--where", *arguments.where] if arguments.where else []
    words += inquiry.words(arguments)
    return _conclude(rate_runs(table), arguments, words, arguments.out, inquiry)


def _conclude(
    given: "RateRuns",
    arguments: argparse.Namespace,
    words: Sequence[str],
    folder: Path | None,
    inquiry: Inquiry,
) -> int:
    """Analyse the runs, write the page into the folder if there is one, and print the answer."""
    from lora_jax.commands.table_options import command_line

    report = inquiry.analyse(given, arguments, command_line([inquiry.command, *words]))
    page = None if folder is None else inquiry.write(report, folder, "")
    show_report(report, page, arguments.json, inquiry.show)
    return 0


def untrained(experiment: "Experiment") -> "RateRuns":
    """Return the runs of a config as a grid of rates, before any is trained."""
    from lora_jax.config import run_id, to_dict
    from lora_jax.model.declare import count_parameters
    from lora_jax.scaling.rates.records import BATCH_NAME, LOSS_NAME, RATE, rate_run
    from lora_jax.scaling.rates.transfer import RateRuns

    runs = tuple(
        rate_run(run_id(run), to_dict(run), count_parameters(run.model).non_embedding, None, trained=False)
        for run in experiment.runs
    )
    return RateRuns(f"{experiment.name}.py", RATE, LOSS_NAME, runs, {}, batch_name=BATCH_NAME)
