"""Adapt a pretrained model with each method of a config file and compare them."""

if __name__ == "__main__":
    from lora_jax.runs.signals import end_at_once

    end_at_once()  # before the other imports, in which a signal would be a stack trace

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lora_jax.cli import guard
from lora_jax.commands import finetune
from lora_jax.commands.caller import Caller, parse

CHECKOUT = Caller("./launch.sh", Path(__file__).resolve().parent.parent, "this checkout")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one experiment from its config file to its report; return the exit status."""
    parser = argparse.ArgumentParser(prog="./launch.sh finetune", description=__doc__)
    finetune.add_options(parser, CHECKOUT)
    return guard(lambda: finetune.run(parse(parser, argv)))


if __name__ == "__main__":
    sys.exit(main())
