"""lora-jax plan: what every run of a config costs."""

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "plan",
        help="print what every run of a config will cost; train nothing",
        description="Print the size, the tokens, the FLOPs and the time of every run in a config. Nothing is"
        " trained.",
    )
    parser.add_argument("config", type=Path, help="config file")
    parser.add_argument(
        "overrides", nargs="*", metavar="field=value", help="set this field in every run, such as d_model=64"
    )
    parser.add_argument("--device", help="estimate the cost on this accelerator (default: this machine)")
    parser.add_argument(
        "--target",
        help="compile the steps for these devices as well, such as h100:8 or v5e:4x4, and print what they"
        " need beside the plan's prediction (lora-jax compile says more)",
    )
    parser.add_argument(
        "--parametrisation",
        action="store_true",
        help="print the start, rate, decay and eps of every weight of the largest model instead",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.compiling.start import compile_config
    from lora_jax.compiling.table import format_beside
    from lora_jax.compiling.topology import require_compiler
    from lora_jax.runs.experiment import load_experiment
    from lora_jax.runs.plan_table import print_plan
    from lora_jax.target import parse_target

    experiment = load_experiment(arguments.config, arguments.overrides)
    if not arguments.parametrisation:
        if arguments.target is None:
            print_plan(experiment, finished=(), device=arguments.device)
            return 0
        target = parse_target(arguments.target)
        require_compiler(target)
        planned = print_plan(experiment, finished=(), device=arguments.device or target.kind)
        report = compile_config(arguments.config, arguments.overrides, target)
        print()
        print(format_beside(report, {item.run_id: item.memory_bytes for item in planned}))
        return 0
    from lora_jax.model.declare import count_parameters
    from lora_jax.runs.parametrisation_table import format_parametrisation

    print(format_parametrisation(max(experiment.runs, key=lambda run: count_parameters(run.model).total)))
    return 0
