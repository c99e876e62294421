"""A campaign over inputs: each ends in finite numbers, or in one sentence and status 2.

What fell is told with its seed: `ask_again(kind, seed, folder, places)` asks it once more.
"""

import math
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from lora_jax.config import TaskConfig
from tests.faults.answers import Answer, ask, call
from tests.faults.attempts import Tally
from tests.faults.make_configs import config_input
from tests.faults.make_drives import drive_input
from tests.faults.make_inputs import Input, folder_input, model_answer, option_input, table_input

SHARES = {
    "table": 0.22,
    "config": 0.12,
    "drive": 0.12,
    "model": 0.17,
    "adapter": 0.08,
    "task": 0.08,
    "option": 0.15,
    "results": 0.04,
    "methods": 0.02,
}
QUICK = ("table", "config", "task")  # kinds that need no weights
Places = dict[str, Path]  # good folders: results, methods, model, adapter, task


def make_input(kind: str, rng: Random, folder: Path, places: Places) -> Input:
    """Return the input of a kind that a generator draws; its files lie in the folder."""
    if kind == "option":
        return option_input(rng, folder, places["model"])
    if kind == "drive":
        return drive_input(rng, folder, places)
    if kind in ("table", "config"):
        return (table_input if kind == "table" else config_input)(rng, folder)
    command = rng.choice((["report"], ["fit", "--bootstrap", "100"]))
    answers: dict[str, Callable[[Path], Answer]] = {
        "results": lambda place: ask([command[0], str(place), *command[1:]]),
        "methods": lambda place: ask([command[0], str(place)]),
        "model": model_answer,
        "adapter": lambda place: _adapter_answer(place, places["base"]),
        "task": _task_answer,
    }
    return folder_input(rng, places[kind], folder, answers[kind])


def _adapter_answer(folder: Path, base: Path) -> Answer:
    from lora_jax.commands.adapter_options import load_on_base

    return call(lambda: load_on_base(folder, str(base)))


def _task_answer(folder: Path) -> Answer:
    from lora_jax.data.tasks.load import load_task

    return call(lambda: load_task(TaskConfig(name=f"files:{folder}")))


def ask_again(kind: str, seed: str, folder: Path, places: Places) -> tuple[Input, Answer]:
    """Ask one input of a campaign; its seed is what the campaign printed, such as "15-table-7"."""
    folder.mkdir(parents=True, exist_ok=True)
    found = make_input(kind, Random(seed), folder, places)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a person sees a warning as a line, and it is no fault
        return found, found.ask()


def ask_inputs(
    seed: int,
    examples: int,
    folder: Path,
    places: Places,
    *,
    kinds: Sequence[str] = tuple(SHARES),
    most_seconds: float = math.inf,
) -> Tally:
    """Ask so many inputs of these kinds, a little of each in turn; those that fell are the findings."""
    tally, ends = Tally(), time.monotonic() + most_seconds
    whole = sum(SHARES[kind] for kind in kinds)
    wanted = {kind: max(1, round(SHARES[kind] / whole * examples)) for kind in kinds}
    # A kind that is wanted n times comes at the places 1/n, 2/n, ... of the way: a short campaign sees all.
    order = sorted(((i + 1) / n, kind, i) for kind, n in wanted.items() for i in range(n))
    for _, kind, i in order:
        if time.monotonic() > ends:
            tally.add("inputs: the time was over before all had been asked")
            break
        name, place = f"{seed}-{kind}-{i}", folder / "now"
        asked, answer = ask_again(kind, name, place, places)
        end = "answered" if answer.status == 0 else "refused in a sentence"
        tally.add(f"input: {kind}", f"input: {'fell' if answer.fault is not None else end}")
        if answer.fault is not None:
            tally.findings.append(f"{name}: {asked.words[:700]}\n    {answer.fault[-2500:]}")
        shutil.rmtree(place, ignore_errors=True)
    return tally
