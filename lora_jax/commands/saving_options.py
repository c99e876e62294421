"""Options that say how often the state of a run in training is saved, and which states are kept."""

import argparse

from lora_jax.commands.number_options import add_number, add_numbers
from lora_jax.ranges import COUNT, POSITIVE_SHARE
from lora_jax.training.saving import DEFAULT, NUMBER_KEPT, SECONDS, Saving


def add_saving(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command that trains."""
    add_number(
        parser,
        "--save-seconds",
        SECONDS,
        metavar="S",
        default=DEFAULT.every_seconds,
        help=f"save the state of a run in progress every S seconds (default: {DEFAULT.every_seconds:g})",
    )
    add_number(
        parser,
        "--save-steps",
        COUNT,
        metavar="N",
        help="also save the state every N steps (default: only by seconds)",
    )
    add_number(
        parser,
        "--save-kept",
        NUMBER_KEPT,
        metavar="K",
        default=DEFAULT.n_kept,
        help=f"keep the last K states of a run in progress (default: {DEFAULT.n_kept})",
    )
    add_numbers(
        parser,
        "--save-at",
        POSITIVE_SHARE,
        "0.25,0.5",
        metavar="SHARES",
        default=(),
        help="keep the states after these shares of a run's steps forever, such as 0.25,0.5 (default: none)",
    )


def read_saving(arguments: argparse.Namespace) -> Saving:
    """Return what the options say."""
    return Saving(
        every_seconds=arguments.save_seconds,
        every_steps=arguments.save_steps,
        n_kept=arguments.save_kept,
        fractions=arguments.save_at,
    )
