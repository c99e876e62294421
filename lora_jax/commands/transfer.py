"""lora-jax transfer: train a sweep of learning rates, and say how the best rate moves with size."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands import scaling
from lora_jax.commands.caller import INSTALLED, Caller, find_config
from lora_jax.commands.number_options import add_number
from lora_jax.commands.saving_options import add_saving, read_saving
from lora_jax.commands.training import Origin, add_tracker
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import Range

if TYPE_CHECKING:
    from lora_jax.runs.experiment import Experiment
    from lora_jax.scaling.rates.results import TransferReport
    from lora_jax.scaling.rates.transfer import RateRuns

TOLERANCE = Range(0, 2)


def add(commands: Any) -> None:
    add_options(
        commands.add_parser(
            "transfer",
            help="find the best learning rate of each size, and whether it moves",
            description="Train a sweep of learning rates at several widths, depths, batch sizes or lengths."
            " Find the best rate of each size and the power by which it moves, with intervals, and recommend"
            " a rule. If you stop it, run it again.",
        ),
        INSTALLED,
    )


def add_options(parser: argparse.ArgumentParser, caller: Caller) -> None:
    """Add the arguments of `run` to a parser."""
    parser.add_argument(
        "config", type=Path, nargs="?",
        help="config file of a sweep of rates, or the results folder of a finished one",
    )  # fmt: skip
    parser.add_argument(
        "overrides", nargs="*", metavar="field=value", help="set this field in every run, such as seed=1"
    )
    parser.add_argument(
        "--out", type=Path,
        help=f"results folder (default: results/CONFIG in {caller.place}; with --table none is written)",
    )  # fmt: skip
    parser.add_argument(
        "--plan", action="store_true", dest="dry_run",
        help="check everything and print every run and its cost; train nothing",
    )  # fmt: skip
    add_number(
        parser, "--tolerance", TOLERANCE, default=0.1, metavar="POWER",
        help="a best rate that moves with a power of the size within this is said not to move (default: 0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--lanes", default="auto", metavar="N",
        help="train at most N runs of one shape together in one program (default: auto, which measures)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print transfer.json instead of tables")
    table = parser.add_argument_group("in place of a config")
    table.add_argument(
        "--table", type=Path, metavar="FILE", help="table of finished runs with a column of learning rates"
    )
    table.add_argument(
        "--map", nargs="+", default=[], metavar="OURS=THEIRS",
        help="name a column of the table: loss, base_learning_rate, n_params, n_tokens, batch_size, d_model",
    )  # fmt: skip
    table.add_argument(
        "--where", nargs="+", default=[], metavar="CONDITION",
        help="keep only the rows of the table that meet every condition",
    )  # fmt: skip
    add_tracker(parser)
    add_saving(parser)
    # what `scaling` can do besides: halving would stop the runs that make a bowl
    parser.set_defaults(
        run=run, caller=caller, mesh=None, keep_models=False, halving=False, device=None
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    if (arguments.config is None) == (arguments.table is None):
        got = "neither" if arguments.config is None else "both"
        raise LoraJaxError(f"transfer got {got} of a config and --table: give one of them.")
    if arguments.table is not None:
        return run_table(arguments)
    if arguments.config.is_dir():
        return run_folder(arguments)
    return run_config(arguments)


def run_config(arguments: argparse.Namespace) -> int:
    """Train the sweep of a config, and report on it in its results folder."""
    from lora_jax.runs.experiment import load_experiment, read_lanes
    from lora_jax.runs.store import RunStore
    from lora_jax.scaling.rates.records import read_folder
    from lora_jax.scaling.rates.transfer import doubt_grids

    config = find_config(arguments.config)
    experiment = load_experiment(config, arguments.overrides)
    store = RunStore(arguments.out or arguments.caller.results(experiment.name))
    lanes = read_lanes(arguments.lanes)
    for line in doubt_grids(untrained(experiment)):
        print(f"warning: {line}", file=sys.stderr)
    if arguments.dry_run:
        scaling.price(experiment, store, arguments, lanes)
        return 0
    words = [*arguments.overrides]
    if arguments.tolerance != 0.1:
        words.append(f"--tolerance {arguments.tolerance:g}")
    command = arguments.caller.spell("transfer", config, words)
    options = scaling.SweepOptions(
        tracker=arguments.tracker, lanes=lanes, saving=read_saving(arguments),
        origin=Origin(command, arguments.overrides),
    )  # fmt: skip
    status = scaling.train(experiment, store, options)
    if status:
        return status
    store.write_table()
    return conclude(read_folder(store.folder), arguments, command, store.folder, experiment.question)


def run_folder(arguments: argparse.Namespace) -> int:
    """Report on the finished runs of a results folder, beside them or in another folder."""
    from lora_jax.scaling.rates.records import read_folder

    if arguments.overrides or arguments.dry_run:
        raise LoraJaxError(
            f"{arguments.config} is a results folder, whose runs are finished: leave out --plan and"
            " field=value, or give its config."
        )
    folder = arguments.config
    given = read_folder(folder)
    command = f"lora-jax transfer {folder}"
    return conclude(given, arguments, command, arguments.out or folder, "")


def run_table(arguments: argparse.Namespace) -> int:
    """Report on the rows of a table; files are written only with --out."""
    from lora_jax.commands.table_options import command_line, parse_pairs
    from lora_jax.scaling.rates.tables import rate_runs
    from lora_jax.scaling.tables.table import read_table

    if arguments.dry_run:
        raise LoraJaxError("--plan is for a config, and --table holds finished runs: leave out one of them.")
    table = read_table(arguments.table, parse_pairs("--map", arguments.map), where=arguments.where)
    words = ["transfer", "--table", str(arguments.table)]
    words += ["--map", *arguments.map] if arguments.map else []
    words += ["--where", *arguments.where] if arguments.where else []
    return conclude(rate_runs(table), arguments, command_line(words), arguments.out, "")


def conclude(
    given: "RateRuns", arguments: argparse.Namespace, command: str, folder: Path | None, question: str
) -> int:
    """Analyse the runs, write the page into the folder if there is one, and print the answer."""
    from lora_jax.documents import to_document
    from lora_jax.files import to_json
    from lora_jax.report.transfer.page import write_transfer_page
    from lora_jax.report.transfer.terminal import print_transfer
    from lora_jax.scaling.rates.transfer import analyse

    report: TransferReport = analyse(given, command, arguments.tolerance)
    page = None if folder is None else write_transfer_page(report, folder, question)
    if arguments.json:
        print(json.dumps(json.loads(to_json(to_document(report))), indent=1, allow_nan=False))
        return 0
    print_transfer(report)
    if page is not None:
        print(f"Report: {page}")
    return 0


def untrained(experiment: "Experiment") -> "RateRuns":
    """Return the runs of a config as a grid of rates, before any is trained."""
    from lora_jax.config import run_id, to_dict
    from lora_jax.model.declare import count_parameters
    from lora_jax.scaling.rates.records import LOSS_NAME, RATE, rate_run
    from lora_jax.scaling.rates.transfer import RateRuns

    runs = tuple(
        rate_run(run_id(run), to_dict(run), count_parameters(run.model).non_embedding, None, trained=False)
        for run in experiment.runs
    )
    return RateRuns(f"{experiment.name}.py", RATE, LOSS_NAME, runs, {})
