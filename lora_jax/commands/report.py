"""lora-jax report: figures and the page of a results folder, of a scaling sweep or of a fine-tuning one."""

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser("report", help="write figures/ and report.html of a results folder")
    parser.add_argument(
        "folder", type=Path, help="a results folder, after `lora-jax fit`: with fits.json or comparison.json"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.commands.table_options import renew_table
    from lora_jax.comparison.folder import is_finetuning
    from lora_jax.digests import doubting

    renew_table(arguments.folder)
    with doubting("restore it, or make it again by the command that made it"):
        if is_finetuning(arguments.folder):
            from lora_jax.report.methods.page import write_method_report

            print(write_method_report(arguments.folder))
            return 0
        from lora_jax.report.sweep.page import write_report

        print(write_report(arguments.folder))
        return 0
