"""How a command that trains joins the workers of its results folder, and the options for several of them."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.cluster.slurm_options import KEYS, OPTION
from lora_jax.commands.comma_lists import CommaText, add_list
from lora_jax.commands.number_options import add_number
from lora_jax.commands.training import say, tell_status, until_stopped
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import Range

if TYPE_CHECKING:
    from lora_jax.cluster.slurm_options import SlurmOptions
    from lora_jax.runs.store import RunStore
    from lora_jax.workers.crew import Crew

STALE = Range(1, 86_400)
WORKERS = Range(0, 10_000, whole=True)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --workers and --slurm."""
    add_number(
        parser,
        "--workers",
        WORKERS,
        metavar="N",
        help="train with N worker processes, each with a GPU of its own if there are GPUs. 0 only"
        " prepares the folder for `lora-jax work` (default: train in this process)",
    )
    add_list(
        parser,
        CommaText(OPTION, "partition=gpu,gpus=1,hours=4", KEYS),
        metavar="KEY=VALUE,...",
        help="submit the workers as one SLURM array, such as partition=gpu,gpus=1,hours=4; after"
        " preemption they are queued again and resume",
    )
    parser.set_defaults(invited=False, stale_seconds=None)


@contextlib.contextmanager
def working(arguments: argparse.Namespace, store: "RunStore", identity: Collection[Any]) -> "Generator[Crew]":
    """Be a worker on the folder of a store during the block. Whoever starts the sweep leaves its command.

    identity: What all workers must have in common, such as the ids of the runs.
    """
    from lora_jax.config import digest
    from lora_jax.workers.crew import Joining
    from lora_jax.workers.worker import STALE_SECONDS

    task = digest([arguments.command, *identity])
    joining = Joining(task, arguments.invited, arguments.stale_seconds or STALE_SECONDS)
    with store.joined(joining, say) as crew:
        if not arguments.invited:
            leave_task(arguments, store.folder)
        yield crew


def leave_task(arguments: argparse.Namespace, folder: Path) -> None:
    """Write work.json, from which `lora-jax work` knows what to do."""
    from lora_jax.workers.task import Task, write_task

    caller, words, here = arguments.caller, tuple(arguments.words), str(Path.cwd())
    root = str(caller.root.resolve())
    write_task(folder, Task(arguments.command, words, here, caller.program, root, caller.place))


@dataclass(frozen=True)
class Conclusion:
    """How a sweep is concluded.

    Attributes:
        files: What its folder has then, the page first.
        write: Writes them, when every run is finished.
        show: Prints what they say.
    """

    files: tuple[str, ...]
    write: Callable[[], Any]
    show: Callable[[], Any]


def work_on(
    arguments: argparse.Namespace,
    store: "RunStore",
    identity: Collection[Any],
    train: Callable[[], int],
    conclusion: Conclusion,
) -> int:
    """Train as one of the folder's workers, and conclude; return the exit status.

    train: returns its exit status. identity: as in `working`.
    """
    with working(arguments, store, identity) as crew:
        status = train()
        if status:
            return status
        is_own = conclude_once(arguments, store, crew, conclusion)
    if is_own:
        conclusion.show()
    else:
        print(f"Every run is finished. Another worker wrote {store.folder / conclusion.files[0]}.")
    return 0


def conclude_once(
    arguments: argparse.Namespace, store: "RunStore", crew: "Crew", conclusion: Conclusion
) -> bool:
    """Write table and report once: workers wait for the one that does, and find them newer than every run.

    Returns:
        Whether this process wrote them.
    """
    with store.alone("reporting", say):
        is_own = not (arguments.invited and is_reported(store.folder, *conclusion.files))
        if is_own:
            conclusion.write()
    crew.disband()
    return is_own


def is_reported(folder: Path, *names: str) -> bool:
    """Are these files of a results folder there, the first of them newer than every run?"""
    if not all((folder / name).exists() for name in names):
        return False
    written = (folder / names[0]).stat().st_mtime
    return all(path.stat().st_mtime <= written for path in folder.glob("runs/*.json"))


def launch_and_show(arguments: argparse.Namespace, folder: Path, conclusion: Conclusion) -> int:
    """Start the workers of a folder; show their report where they have written it; return the exit status."""
    status = launch(arguments, folder)
    if not status and is_reported(folder, *conclusion.files):
        conclusion.show()
    return status


def launch(arguments: argparse.Namespace, folder: Path) -> int:
    """Leave the task in the folder and start its workers; return the exit status.

    On this machine it waits for them, and a signal stops them all. A SLURM array goes on without it.
    """
    command = [sys.executable, "-m", "lora_jax.cli", "work", str(folder.resolve())]
    if arguments.slurm is not None:
        from lora_jax.cluster.slurm_options import read_slurm
        from lora_jax.cluster.submit import submit_workers

        options = read_slurm(arguments.slurm)
        check_nodes(options, getattr(arguments, "mesh", None))
        leave_task(arguments, folder)
        print(submit_workers(folder, arguments.workers, options, command).sentence)
        print(f"To see how far they are: lora-jax watch {folder}. To stop: lora-jax work {folder} --cancel")
        return 0
    leave_task(arguments, folder)
    if not arguments.workers:
        print(f"{folder} is ready. On any machine that shares it: lora-jax work {folder}")
        return 0
    from lora_jax.cluster.local import run_workers

    with until_stopped() as stop:
        run_workers(folder, arguments.workers, command, stop, partial(_look, folder))
    return tell_status(stop)


def check_nodes(options: "SlurmOptions", mesh: str | None) -> None:
    """Refuse several machines for a worker that trains on one, and a mesh of other devices than it gets."""
    if options.nodes > 1 and mesh is None:
        raise LoraJaxError(
            f"--slurm nodes={options.nodes} gives each worker several machines, which only a run that is"
            " split over them uses: add --mesh (lora-jax scaling has it), or leave nodes out and ask for more"
            " --workers."
        )
    if mesh is not None and options.n_devices is not None:
        from lora_jax.training.mesh import mesh_sizes

        who = f"--slurm nodes={options.nodes},gpus={options.gpus} gives"
        mesh_sizes(mesh, options.n_devices, who, "ask for as many GPUs")


def _look(folder: Path) -> str:
    """Return where the runs of a results folder stand, in a sentence; nothing before a worker is there."""
    from lora_jax.commands.watch import sum_up
    from lora_jax.runs.overview import look
    from lora_jax.workers.worker import read_workers

    return sum_up(look(folder)) if read_workers(folder) else ""


def is_launch(arguments: argparse.Namespace) -> bool:
    """Are other processes to do the work? A dry run starts none."""
    if arguments.slurm is not None and not arguments.workers:
        raise LoraJaxError("--slurm needs the number of workers: add --workers N, at least 1.")
    return arguments.workers is not None and not arguments.dry_run
