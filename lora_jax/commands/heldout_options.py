"""Options that say at which steps the held-out loss of a run in training is measured."""

import argparse

from lora_jax.commands.number_options import add_number
from lora_jax.training.measuring import DEFAULT, NUMBER, OF_TRAINING, SPACINGS, Measuring


def add_measuring(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command that pretrains."""
    add_number(
        parser,
        "--heldout-points",
        NUMBER,
        metavar="N",
        default=DEFAULT.n_points,
        help="measure the held-out loss of a run at N steps at most; 0 measures it only at the end"
        " (default: %(default)s)",
    )
    add_number(
        parser,
        "--heldout-share",
        OF_TRAINING,
        metavar="S",
        default=DEFAULT.share,
        help="limit these measurements to this share of the run's training FLOPs, by fewer windows"
        " of text or fewer steps (default: %(default)s)",
    )
    parser.add_argument(
        "--heldout-spacing",
        choices=SPACINGS,
        default=DEFAULT.spacing,
        help="space these steps evenly in their logarithm (log) or in their number (even)"
        " (default: %(default)s)",
    )


def read_measuring(arguments: argparse.Namespace) -> Measuring:
    """Return what the options say."""
    return Measuring(
        n_points=arguments.heldout_points,
        share=arguments.heldout_share,
        spacing=arguments.heldout_spacing,
    )
