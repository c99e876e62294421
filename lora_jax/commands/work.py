"""lora-jax work: be one of the workers of a sweep that was started in a results folder."""

import argparse
import os
from pathlib import Path
from typing import Any

from lora_jax.commands import ablation, finetune, finetune_laws, incontext, scaling, surface, transfer
from lora_jax.commands.caller import Caller
from lora_jax.commands.number_options import add_number
from lora_jax.commands.working import STALE
from lora_jax.errors import LoraJaxError
from lora_jax.files import require_disk
from lora_jax.workers.task import Task, read_task
from lora_jax.workers.worker import STALE_SECONDS

COMMANDS = {
    "scaling": scaling,
    "finetune": finetune,
    "finetune_laws": finetune_laws,
    "incontext": incontext,
    "transfer": transfer,
    "surface": surface,
    "ablation": ablation,
}


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "work",
        help="help to train the sweep of a results folder, beside other workers",
        description="Work on the sweep that was started in a results folder. You can start any number of"
        " workers, on any machines that share the folder. A worker takes runs that no other worker has. It"
        " also continues the runs of workers that are gone. It ends when every run is finished. The last"
        " worker writes the report.",
    )
    parser.add_argument("folder", type=Path, help="results folder that a sweep was started in")
    parser.add_argument(
        "--cancel", action="store_true", help="cancel the jobs that --slurm submitted for this folder"
    )
    add_number(
        parser,
        "--stale-seconds",
        STALE,
        metavar="S",
        default=STALE_SECONDS,
        help="take over from a worker that gives no sign for S seconds (default: %(default)g)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    require_disk(arguments.folder)
    if arguments.cancel:
        from lora_jax.cluster.submit import cancel

        print(cancel(arguments.folder).sentence)
        return 0
    from lora_jax.workers.log import logging

    folder = arguments.folder.resolve()
    task = read_task(folder)
    with logging(folder):
        return help_with(task, folder, arguments.stale_seconds)


def help_with(task: Task, folder: Path, stale_seconds: float) -> int:
    """Run the command of a task as one worker of its folder; return the exit status."""
    asked = parse(task)
    asked.out, asked.invited, asked.stale_seconds = folder, True, stale_seconds
    asked.workers = asked.slurm = None
    try:
        os.chdir(task.folder)
    except OSError as error:
        raise LoraJaxError(
            f"The sweep of {folder} was started in {task.folder}, which this machine does not have"
            f" ({error.strerror}): mount it here at the same path, or start the sweep from a folder that"
            " every machine sees."
        ) from error
    return asked.run(asked)


def parse(task: Task) -> argparse.Namespace:
    """Return the arguments of a task's command."""
    if task.command not in COMMANDS:
        raise LoraJaxError(
            f"The sweep was started by the command {task.command!r}, but it must be one of"
            f" {', '.join(COMMANDS)}: another version of lora_jax started it; use that one."
        )
    parser = argparse.ArgumentParser()
    COMMANDS[task.command].add_options(parser, Caller(task.program, Path(task.root), task.place))
    arguments = parser.parse_intermixed_args(list(task.words))
    arguments.words = list(task.words)
    return arguments
