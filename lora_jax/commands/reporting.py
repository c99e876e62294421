"""A command that trains the sweep of a config and then makes a report of its own, such as `transfer`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from lora_jax.commands import scaling
from lora_jax.commands.caller import Caller, find_config
from lora_jax.commands.saving_options import add_saving, read_saving
from lora_jax.commands.training import Origin, add_tracker
from lora_jax.commands.working import Conclusion, add_workers
from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from lora_jax.runs.experiment import Experiment

Report = TypeVar("Report")


@dataclass(frozen=True)
class Reporting(Generic[Report]):
    """What a command makes of the runs.

    Attributes:
        page: The page's name in the results folder.
        words: Options that belong to the report, as the command to repeat has them.
        doubt: What is wrong with an experiment before it trains.
        analyse: The report on a results folder, given the command that asks.
        write: Writes the report and its page into a folder, with the config's question above.
        show: Prints the report and where its page is.
    """

    page: str
    words: Sequence[str]
    doubt: "Callable[[Experiment], Sequence[str]]"
    analyse: Callable[[Path, str], Report]
    write: Callable[[Report, Path, str], Path]
    show: Callable[[Report, Path], None]


def add_training(parser: argparse.ArgumentParser, caller: Caller, command: str) -> None:
    """Add the arguments of `train_and_report` to a parser."""
    parser.add_argument(
        "overrides", nargs="*", metavar="field=value", help="set this field in every run, such as seed=1"
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        dest="dry_run",
        help="check everything and print every run and its cost; train nothing",
    )
    parser.add_argument(
        "--lanes",
        default="auto",
        metavar="N",
        help="train at most N runs of one model size and batch together in one program (default: auto, which"
        " measures what is fastest)",
    )
    add_tracker(parser)
    add_saving(parser)
    add_workers(parser)
    # what `scaling` can do besides: halving would stop runs that the report needs
    parser.set_defaults(
        caller=caller, command=command, mesh=None, keep_models=False, halving=False, device=None
    )


def train_and_report(arguments: argparse.Namespace, reporting: "Reporting[Report]") -> int:
    """Train the sweep of a config and report on it in its results folder; return the exit status."""
    from lora_jax.runs.experiment import load_experiment, read_lanes
    from lora_jax.runs.store import RunStore

    config = find_config(arguments.config)
    experiment = load_experiment(config, arguments.overrides)
    store = RunStore(arguments.out or arguments.caller.results(experiment.name))
    lanes = read_lanes(arguments.lanes)
    for line in reporting.doubt(experiment):
        print(f"warning: {line}", file=sys.stderr)
    if arguments.dry_run:
        scaling.price(experiment, store, arguments, lanes)
        return 0
    words = [*arguments.overrides, *reporting.words]
    command = arguments.caller.spell(arguments.command, config, words)
    options = scaling.SweepOptions(
        tracker=arguments.tracker,
        lanes=lanes,
        saving=read_saving(arguments),
        origin=Origin(command, arguments.overrides),
    )
    found: list[Report] = []

    def report_once() -> None:
        store.write_table()
        found.append(reporting.analyse(store.folder, command))
        reporting.write(found[0], store.folder, experiment.question)

    def show_it() -> None:
        report = found[0] if found else reporting.analyse(store.folder, command)
        reporting.show(report, store.folder / reporting.page)

    conclusion = Conclusion((reporting.page,), report_once, show_it)
    return scaling.work(experiment, store, options, arguments, conclusion)


def refuse_training(arguments: argparse.Namespace) -> None:
    """Refuse options that train something where a results folder was given, whose runs are finished."""
    if arguments.overrides or arguments.dry_run:
        raise LoraJaxError(
            f"{arguments.config} is a results folder, whose runs are finished: leave out --plan and"
            " field=value, or give its config."
        )


def show_report(
    report: "Report", page: Path | None, as_json: bool, print_report: "Callable[[Report], None]"
) -> None:
    """Print a report, as JSON or as tables and where its page is."""
    from lora_jax.documents import to_document
    from lora_jax.files import to_json

    if as_json:
        print(to_json(to_document(report)))
        return
    print_report(report)
    if page is not None:
        print(f"Report: {page}")
