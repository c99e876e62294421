"""Train a sweep of learning rates and batch sizes, and say which pair is best for each size."""

if __name__ == "__main__":
    from lora_jax.runs.signals import end_at_once

    end_at_once()  # before the other imports, in which a signal would be a stack trace

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lora_jax.cli import guard
from lora_jax.commands import surface
from lora_jax.commands.caller import Caller, parse

CHECKOUT = Caller("./launch.sh", Path(__file__).resolve().parent.parent, "this checkout")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one experiment from its config file to its report; return the exit status."""
    parser = argparse.ArgumentParser(prog="./launch.sh surface", description=__doc__)
    surface.add_options(parser, CHECKOUT)
    return guard(lambda: surface.run(parse(parser, argv)))


if __name__ == "__main__":
    sys.exit(main())
