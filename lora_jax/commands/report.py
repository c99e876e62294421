"""lora-jax report: figures and the page of a results folder."""

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser("report", help="write figures/ and report.html of a results folder")
    parser.add_argument("folder", type=Path, help="a results folder with runs.csv and fits.json")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.report.page import write_report

    print(write_report(arguments.folder))
    return 0
