"""lora-jax plan: what every run of a config costs."""

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "plan", help="print what every run of a config costs, before anything trains"
    )
    parser.add_argument("config", type=Path, help="a config file")
    parser.add_argument("overrides", nargs="*", metavar="field=value", help="laid over every run")
    parser.add_argument("--device", help="price for this accelerator instead of the present machine")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.runs.experiment import load_experiment
    from lora_jax.runs.plan_table import print_plan

    print_plan(load_experiment(arguments.config, arguments.overrides), finished=(), device=arguments.device)
    return 0
