"""lora-jax dashboard: a workspace and a report of a sweep on wandb's server."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "dashboard",
        help="write a workspace and a report of a tracked sweep to wandb's server",
        description="Write a workspace and a report to wandb's server: loss against tokens and FLOPs by size,"
        " learning rates, fitted laws over the runs, residuals, the held-out cell, and a run comparer. Run it"
        " again to bring them up to date.",
    )
    parser.add_argument("folder", type=Path, help="results folder of a sweep that wandb tracks")
    parser.add_argument("--entity", help="user or team that has the runs (default: as the runs say)")
    parser.add_argument("--project", help="project that has the runs (default: as the runs say)")
    parser.add_argument(
        "--check",
        action="store_true",
        help="build both without a server, and print the workspace as JSON. The report is not printed,"
        " because its panels need the server",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.runs.dashboard import make_report, make_workspace, read_tracked, to_spec, write_dashboard

    sweep = read_tracked(arguments.folder)
    sweep = replace(
        sweep, entity=arguments.entity or sweep.entity, project=arguments.project or sweep.project
    )
    if arguments.check:
        n_blocks = len(make_report(sweep).blocks)
        print(json.dumps(to_spec(make_workspace(sweep)), indent=1))
        print(
            f"The workspace is complete. The report has {n_blocks} blocks; only the server can"
            " complete its panels.",
            file=sys.stderr,
        )
        return 0
    written = write_dashboard(sweep)
    print(f"Workspace: {written.workspace_url}\nReport: {written.report_url}")
    return 0
