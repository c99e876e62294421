"""Run the study of a config file: how fine-tuning scales with the base, the data and the method."""

if __name__ == "__main__":
    from lora_jax.runs.signals import end_at_once

    end_at_once()  # before the other imports, in which a signal would be a stack trace

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lora_jax.cli import guard
from lora_jax.commands import finetune_laws
from lora_jax.commands.caller import Caller, parse

CHECKOUT = Caller("./launch.sh", Path(__file__).resolve().parent.parent, "this checkout")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one study from its config file to its report; return the exit status."""
    parser = argparse.ArgumentParser(prog="./launch.sh finetune_laws", description=__doc__)
    finetune_laws.add_options(parser, CHECKOUT)
    return guard(lambda: finetune_laws.run(parse(parser, argv)))


if __name__ == "__main__":
    sys.exit(main())
