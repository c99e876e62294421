"""lora-jax plan: what every run of a config costs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.comma_lists import add_mesh
from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from lora_jax.runs.experiment import Experiment


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
        help="also compile the steps for these devices, such as h100:8 or v5e:4x4, and print what"
        " they need next to the plan's prediction (`lora-jax compile` says more)",
    )
    add_mesh(
        parser,
        help="how to split the work over the devices of --target, as `lora-jax compile` explains"
        " (default: all devices on fsdp)",
    )
    parser.add_argument(
        "--parametrisation",
        action="store_true",
        help="instead of the plan, print how each weight of the largest model starts, and its learning rate,"
        " weight decay and eps",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.runs.experiment import load_experiment
    from lora_jax.runs.plan_table import print_plan

    experiment = load_experiment(arguments.config, arguments.overrides)
    if arguments.mesh is not None and arguments.target is None:
        raise LoraJaxError("--mesh says how the devices of a target are used: name it with --target.")
    if not arguments.parametrisation:
        if arguments.target is None:
            print_plan(experiment, finished=(), device=arguments.device)
        else:
            _compile_beside(arguments, experiment)
        return 0
    from lora_jax.model.declare import count_parameters
    from lora_jax.runs.parametrisation_table import format_parametrisation

    print(format_parametrisation(max(experiment.runs, key=lambda run: count_parameters(run.model).total)))
    return 0


def _compile_beside(arguments: argparse.Namespace, experiment: "Experiment") -> None:
    """Print the plan for a device of the target, what the compiler says beside it, and the price of all."""
    from lora_jax.compiling.pricing import estimate_speed
    from lora_jax.compiling.start import compile_config
    from lora_jax.compiling.table import format_beside
    from lora_jax.compiling.topology import require_compiler
    from lora_jax.layout import fill
    from lora_jax.runs.plan_table import print_plan
    from lora_jax.target import parse_target
    from lora_jax.training.device_memory import Split
    from lora_jax.training.mesh import mesh_sizes

    target = parse_target(arguments.target)
    if arguments.device is not None:
        raise LoraJaxError("--target prices for its own devices: leave out --device.")
    require_compiler(target)
    split = Split(
        *mesh_sizes(arguments.mesh, target.n_devices, f"the target {target.name} has", "name such a target")
    )
    planned = print_plan(experiment, finished=(), device=target.kind, split=split)
    report = compile_config(arguments.config, arguments.overrides, target, arguments.mesh)
    print()
    print(format_beside(report, {item.run_id: item.memory_bytes for item in planned}))
    if any(step.estimate is None for step in report.steps):
        print(fill("The runs have no price: a step has no estimate, as where it does not fit."))
        return
    speed = estimate_speed(report, target, {item.run_id: item.own_steps for item in planned})
    flops = sum(item.flops * item.own_steps / item.n_steps for item in planned)
    print(fill(f"The runs: {speed.describe(flops)}"))
