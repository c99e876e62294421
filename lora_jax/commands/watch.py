"""lora-jax watch: the state of a sweep from the files of its results folder, as it is trained."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.number_options import add_number
from lora_jax.ranges import Range

if TYPE_CHECKING:
    from lora_jax.runs.overview import Overview, RunStanding

EVERY_SECONDS, BETWEEN = 5.0, Range(0.1, 86_400)
SHOWN = 12  # runs of a standing that are shown unless all are asked for


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "watch",
        help="show which runs of a sweep are planned, running and finished, while it is trained",
        description="Show where the runs of a sweep stand. This reads only the files of its results folder,"
        " so the sweep may be trained by another process, or by a machine that shares the folder.",
    )
    parser.add_argument("folder", type=Path, help="results folder that a sweep is trained into")
    parser.add_argument("--once", action="store_true", help="show it once, instead of until the sweep ends")
    parser.add_argument("--all", action="store_true", help=f"show every run, not just {SHOWN} of each kind")
    add_number(
        parser,
        "--every",
        BETWEEN,
        default=EVERY_SECONDS,
        metavar="SECONDS",
        help="time between two looks (default: %(default)g)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.runs.overview import look

    while True:
        found = look(arguments.folder)
        most = None if arguments.all else SHOWN
        _show("\n".join([*describe(found, most), *_tell_deaths(arguments.folder, most)]))
        if arguments.once or not found.is_training:
            return 0
        time.sleep(arguments.every)


def _show(text: str) -> None:
    """Print a look; on a terminal in place of the one before."""
    if sys.stdout.isatty():
        print("\033[H\033[2J", end="")
    print(text, flush=True)


def describe(found: "Overview", most: int | None) -> list[str]:
    """Return an overview as lines: a table of the runs, and a sentence. most: runs of a standing shown."""
    from lora_jax.layout import draw, fill

    order = ("running", "interrupted", "diverged", "halted", "done", "planned")
    shown: list[RunStanding] = []
    left_out = 0
    for standing in order:
        runs = [run for run in found.runs if run.standing == standing]
        kept = runs if most is None else runs[-most:] if standing == "done" else runs[:most]
        shown += kept
        left_out += len(runs) - len(kept)
    columns = ("run", "state", "step", "loss", "held-out", "tokens/s", "last row")
    lines = draw(columns, [_cells(run) for run in shown], set(range(2, len(columns))))
    if left_out:
        lines.append(f"{left_out} more runs are not shown; --all shows them.")
    return [*lines, "", *_show_workers(found, most), fill(sum_up(found))]


def _show_workers(found: "Overview", most: int | None) -> list[str]:
    """Return a table of the workers that are alive where there are several, and how many are gone."""
    from lora_jax.layout import draw

    living = found.living
    gone = sum(worker.state.ended is None for worker in found.workers) - len(living)
    lines: list[str] = []
    if len(living) > 1:
        shown = living if most is None else living[:most]
        cells = [(w.state.name, w.state.doing, f"{w.age_seconds:.0f} s ago") for w in shown]
        lines += [*draw(("worker", "at work on", "last sign"), cells, {2}), ""]
        if len(living) > len(shown):
            lines.append(f"{len(living) - len(shown)} more workers are not shown; --all shows them.")
    if gone:
        lines.append(f"{gone} {'worker is' if gone == 1 else 'workers are'} gone without a word.")
    return lines


def _tell_deaths(folder: Path, most: int | None) -> list[str]:
    """Return a sentence for each worker of SLURM that died, with its last words and its log."""
    from lora_jax.cluster.deaths import read_deaths
    from lora_jax.layout import fill

    deaths = read_deaths(folder)
    lines = [fill(death.sentence) for death in deaths[:most]]
    if len(deaths) > len(lines):
        lines.append(f"{len(deaths) - len(lines)} more workers died; --all tells of them.")
    return lines


def _cells(run: "RunStanding") -> tuple[str, ...]:
    row = run.row
    return (
        run.run_id,
        run.standing,
        f"{run.step:,}/{run.n_steps:,}",
        f"{row.loss:.3f}" if row is not None and row.loss is not None else "",
        f"{run.heldout_loss:.4f}" if run.heldout_loss is not None else "",
        f"{row.tokens_per_second:,.0f}" if row is not None and row.tokens_per_second is not None else "",
        f"{run.age_seconds:.0f} s ago" if run.age_seconds is not None else "",
    )


def sum_up(found: "Overview") -> str:
    """Return where a sweep stands, in a sentence or two."""
    from lora_jax.runs.progress import format_duration

    n, done = len(found.runs), found.count("done")
    if not n:
        return "No run has begun yet."
    others = [
        f"{count} {standing}"
        for standing in ("running", "interrupted", "diverged", "halted", "planned")
        if (count := found.count(standing))
    ]
    text = f"{done} of {n} runs are done" + "".join(f", {other}" for other in others) + "."
    state = found.state
    if state is None:
        return text
    age = f"{time.time() - state.updated:.0f} s ago"
    where = f"process {state.pid} on {state.host}"
    if found.is_training:
        left = format_duration(state.seconds_left)
        if len(found.living) > 1:
            return f"{text} {len(found.living)} workers, about {left} left, estimated {age}."
        return f"{text} About {left} left, as {where} estimated {age}."
    if state.ended is None:
        return f"{text} No process trains it: {where} is gone without a word; the same command goes on."
    again = "" if state.ended == "finished" else " The same command goes on."
    return f"{text} No process trains it: {where} has {state.ended}.{again}"
