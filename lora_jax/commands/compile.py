"""lora-jax compile: what the steps of a config need and take on devices that are not here."""

import argparse
import sys
from pathlib import Path
from typing import Any

from lora_jax.commands.comma_lists import CommaList, add_list, add_mesh


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "compile",
        help="compile the steps of a config for a GPU or TPU that is not here; run nothing",
        description="Compile the training step of every different shape in a config for GPUs or TPUs that"
        " need not be here. Print memory, collectives and an estimate of the time. Nothing is run.",
    )
    parser.add_argument("config", type=Path, help="config file")
    parser.add_argument(
        "overrides", nargs="*", metavar="field=value", help="set this field in every run, such as d_model=64"
    )
    add_list(
        parser,
        CommaList("--target", "h100:8,v5e:4x4", str),
        required=True,
        help="what to compile for: h100:8, a100-80gb:1, h200:4, v4:2x2x1, v5e:4x4, v5p:2x2x1 or v6e:2x2;"
        " separate several by commas",
    )
    add_mesh(
        parser,
        help="how to split the work over the devices, such as data=2,fsdp=4,tensor=1: the batch over data,"
        " the weights over fsdp (d_model) and tensor (heads) (default: all devices on fsdp)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="print a list of reports as JSON, one for each target"
    )
    form.add_argument("--markdown", action="store_true", help="print one table of all targets for a document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.compiling.results import CompiledStep
    from lora_jax.compiling.start import compile_config
    from lora_jax.compiling.table import format_markdown, format_report
    from lora_jax.documents import to_document
    from lora_jax.files import to_json
    from lora_jax.target import parse_target

    def say(step: CompiledStep) -> None:
        print(f"compiled {step.model} in {step.compile_seconds:.0f} s", file=sys.stderr)

    reports = []
    for target in [parse_target(text) for text in arguments.target]:
        reports.append(compile_config(arguments.config, arguments.overrides, target, arguments.mesh, say))
        if not arguments.json and not arguments.markdown:
            print(format_report(reports[-1]))
    if arguments.json:
        print(to_json(to_document(reports)))
    elif arguments.markdown:
        print(format_markdown(reports))
    return 0
