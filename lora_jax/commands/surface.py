"""lora-jax surface: the best learning rate and batch size together, and how the pair moves with N and D."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands import rate_sweeps
from lora_jax.commands.caller import INSTALLED, Caller
from lora_jax.commands.number_options import add_number
from lora_jax.commands.rate_sweeps import Inquiry, add_sweep_options
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import Range

if TYPE_CHECKING:
    from lora_jax.scaling.rates.transfer import RateRuns
    from lora_jax.scaling.surfaces.results import SurfaceReport

PERCENT = Range(0.001, 50)
USUAL = 0.5
SIZE = Range(1, 1e30)


def add(commands: Any) -> None:
    add_options(
        commands.add_parser(
            "surface",
            help="find the best learning rate and batch size together, and how they move with N and D",
            description="Train a sweep of learning rates crossed with batch sizes at one or more sizes. Find"
            " the best pair of each size, how far each may be off at little cost, and the power laws of the"
            " pairs in N and D, with intervals. If you stop it, run it again.",
        ),
        INSTALLED,
    )


def add_options(parser: argparse.ArgumentParser, caller: Caller) -> None:
    """Add the arguments of `run` to a parser."""
    add_sweep_options(parser, caller, "surface")
    add_number(
        parser,
        "--flat",
        PERCENT,
        default=USUAL,
        metavar="PERCENT",
        help="show the range of rates and batch sizes in which the loss is at most this many percent above"
        " the lowest (default: 0.5)",
    )
    parser.add_argument(
        "--predict",
        nargs="+",
        action="append",
        default=[],
        metavar="N=...,D=...",
        help="predict the best pair of rate and batch size at a size, such as N=7e9,D=1.4e11; repeat the"
        " option for more sizes",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    places(arguments)  # a mistake there is told before anything trains
    return rate_sweeps.run(
        arguments, Inquiry("surface", "surface.html", _doubt, _analyse, _write, _show, _words)
    )


def places(arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Return the sizes that --predict asks for."""
    from lora_jax.commands.table_options import parse_numbers

    found = [parse_numbers("--predict", texts, SIZE) for texts in arguments.predict]
    for place in found:
        wrong = [letter for letter in place if letter not in ("N", "D")]
        if wrong:
            raise LoraJaxError(f"--predict got {wrong[0]}, it wants N and D, such as N=7e9,D=1.4e11.")
    return found


def _doubt(given: "RateRuns") -> list[str]:
    from lora_jax.scaling.surfaces.surface import doubt_surfaces

    return doubt_surfaces(given)


def _analyse(given: "RateRuns", arguments: argparse.Namespace, command: str) -> "SurfaceReport":
    from lora_jax.scaling.surfaces.surface import analyse

    return analyse(given, command, arguments.flat / 100, places(arguments))


def _write(report: "SurfaceReport", folder: Path, question: str) -> Path:
    from lora_jax.report.surface.page import write_surface_page

    return write_surface_page(report, folder, question)


def _show(report: "SurfaceReport") -> None:
    from lora_jax.report.surface.terminal import print_surface

    print_surface(report)


def _words(arguments: argparse.Namespace) -> list[str]:
    words = [] if arguments.flat == USUAL else ["--flat", f"{arguments.flat:g}"]
    for texts in arguments.predict:
        words += ["--predict", *texts]
    return words
