"""lora-jax export: an adapter of a run, as a folder that peft loads."""

import argparse
from typing import Any

from lora_jax.commands.adapter_options import add_adapter, load_on_base


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write an adapter as a folder that peft can load",
        description="Write an adapter of a run as a folder that peft can load.",
    )
    add_adapter(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.huggingface.adapters.exporting import export_adapter

    found = load_on_base(arguments.adapter, arguments.base)
    base = found.base
    export_adapter(
        arguments.out,
        str(base.folder),
        base.model_type,
        base.config,
        found.config,
        found.trainable,
        base.params,
        found.replaced,
    )
    print(arguments.out)
    return 0
