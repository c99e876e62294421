"""lora-jax transfer: train a sweep of learning rates, and say how the best rate moves with size."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands import rate_sweeps
from lora_jax.commands.caller import INSTALLED, Caller
from lora_jax.commands.number_options import add_number
from lora_jax.commands.rate_sweeps import Inquiry, add_sweep_options
from lora_jax.ranges import Range

if TYPE_CHECKING:
    from lora_jax.scaling.rates.results import TransferReport
    from lora_jax.scaling.rates.transfer import RateRuns

TOLERANCE = Range(0, 2)
USUAL = 0.1


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
    add_sweep_options(parser, caller, "transfer")
    add_number(
        parser,
        "--tolerance",
        TOLERANCE,
        default=USUAL,
        metavar="POWER",
        help="the best rate goes as size^power. Say that it does not move if the interval of that power lies"
        " between -POWER and POWER (default: 0.1)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    return rate_sweeps.run(
        arguments, Inquiry("transfer", "transfer.html", _doubt, _analyse, _write, _show, _words)
    )


def _doubt(given: "RateRuns") -> list[str]:
    from lora_jax.scaling.rates.transfer import doubt_grids

    return doubt_grids(given)


def _analyse(given: "RateRuns", arguments: argparse.Namespace, command: str) -> "TransferReport":
    from lora_jax.scaling.rates.transfer import analyse

    return analyse(given, command, arguments.tolerance)


def _write(report: "TransferReport", folder: Path, question: str) -> Path:
    from lora_jax.report.transfer.page import write_transfer_page

    return write_transfer_page(report, folder, question)


def _show(report: "TransferReport") -> None:
    from lora_jax.report.transfer.terminal import print_transfer

    print_transfer(report)


def _words(arguments: argparse.Namespace) -> list[str]:
    return [] if arguments.tolerance == USUAL else ["--tolerance", f"{arguments.tolerance:g}"]
