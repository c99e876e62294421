"""How many lanes a group of trunks gets. We measure a wider program against a narrower one.

On an accelerator, a small model's step leaves most of the device idle, so lanes cost nearly nothing. On a CPU
they mostly gain nothing. So we try the widths in turn on the group's own first batches. A wider one has to be
clearly faster. The choice is kept in lanes.json of the results folder. After a kill it holds for the rest of
the sweep, on a machine of the same kind. So a choice of one lane resumes to the same bits.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from lora_jax.config import DataConfig, RunConfig, digest, to_dict
from lora_jax.data import Dataset
from lora_jax.digests import to_sealed_json
from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.runs.groups import MOST_LANES, Group
from lora_jax.runs.plan_table import format_bytes
from lora_jax.runs.store import read_json
from lora_jax.training.lanes import Lanes
from lora_jax.training.pretraining import init_pretraining, make_input, make_pretraining_step
from lora_jax.training.side_by_side import STEPS_PER_READ

CLEARLY = 1.1  # a wider program must be so many times faster; less is within a busy machine's noise
MEASURING_SHARE = 0.1  # largest share of the group's time that measuring one more count may take
KEPT_IN = "lanes.json"  # a file of the results folder
TURN_SECONDS, N_TURNS = 0.25, 3  # a turn of steps takes about this long, and we take the median of so many


@dataclass(frozen=True)
class Measured:
    """One lane count and what was measured with it.

    Attributes:
        lanes: Number of lanes.
        tokens_per_second: Speed of all lanes together. None if the memory does not hold them.
        memory_bytes: Bytes of the step, and of the states that it puts aside for branches.
        seconds: Time that measuring took.
    """

    lanes: int
    tokens_per_second: float | None
    memory_bytes: float
    seconds: float


@dataclass(frozen=True)
class Choice:
    """The lane count that was chosen.

    Attributes:
        lanes: Number of lanes.
        n_trunks: Number of trunks that could train side by side.
        measured: What was measured.
        reason: Why no wider program was taken.
    """

    lanes: int
    n_trunks: int
    measured: tuple[Measured, ...]
    reason: str


class Candidates(Protocol):
    """What may train side by side: a group of trunks or of fine-tuning runs (`finetuning.lane_count`)."""

    @property
    def trunks(self) -> Sequence[Any]: ...
    @property
    def lane_bytes(self) -> float: ...  # the least bytes of a lane
    @property
    def n_tokens(self) -> int: ...  # tokens to train on


def memory_limit() -> float:
    """Return the bytes that this process may use on its device. On a CPU, the machine's free memory."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"])
    spare = Path("/proc/meminfo")
    if not spare.exists():  # without Linux's file we take all memory of the machine
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    lines = dict(line.split(":") for line in spare.read_text().splitlines())
    return 1024.0 * int(lines["MemAvailable"].split()[0])


def settle_lane_count(
    group: Group, datasets: Mapping[DataConfig, Dataset], folder: Path, say: Callable[[str], None]
) -> int:
    """Return the lanes of a group, from lanes.json of the results folder.

    If it has none, measure and write them.
    """
    n_trunks, shape = len(group.trunks), to_dict(group.shape)
    if n_trunks == 1:
        return 1
    lanes = recall(folder, shape, n_trunks)
    if lanes is not None:
        say(f"{group.description}: {lanes} of {n_trunks} trunks side by side, as {folder / KEPT_IN} has it")
        return lanes
    limit = memory_limit()
    choice = choose_lane_count(group, lambda n_lanes: measure(group, n_lanes, datasets, limit), limit)
    keep(folder, shape, group.description, choice)
    say(format_choice(group, choice, limit))
    return choice.lanes


def recall(folder: Path, shape: object, n_trunks: int) -> int | None:
    """Return the lanes that a results folder has for a shape on this kind of device. None if it has none.

    If the sweep has grown since, it is measured again.
    """
    path = folder / KEPT_IN
    known = read_json(path).get(_key(shape)) if path.exists() else None
    if known is None or known["n_trunks"] < n_trunks:
        return None
    return min(int(known["lanes"]), n_trunks)


def keep(folder: Path, shape: object, words: str, choice: Choice) -> None:
    """Write a choice into a results folder, for `recall`.

    Args:
        folder: The results folder.
        shape: The shape of the group.
        words: The shape in words.
        choice: The choice.
    """
    path = folder / KEPT_IN
    kept = read_json(path) if path.exists() else {}
    kept[_key(shape)] = {"group": words} | asdict(choice)
    write_atomically(path, to_sealed_json(kept))


def _key(shape: object) -> str:
    return digest([shape, jax.devices()[0].device_kind])


def choose_lane_count(group: Candidates, measure: Callable[[int], Measured], limit: float) -> Choice:
    """Double the lanes as long as it pays.

    It pays if it is clearly faster, fits the memory, and is quickly measured.

    Args:
        group: What may train side by side.
        measure: Measures a lane count.
        limit: The memory in bytes.
    """
    n_trunks, n_lanes, speed = len(group.trunks), 1, 0.0
    measured: list[Measured] = []
    while True:
        if n_lanes > MOST_LANES:
            reason = f"at most {MOST_LANES}"
        elif n_lanes > n_trunks:
            reason = f"{n_trunks} trunks"
        elif measured and n_lanes * group.lane_bytes > limit:
            reason = f"{n_lanes} would take {format_bytes(n_lanes * group.lane_bytes)}"
        elif measured and measured[-1].seconds > MEASURING_SHARE * group.n_tokens / speed:
            reason = f"too short to measure {n_lanes}"
        else:
            found = measure(n_lanes)
            measured.append(found)
            faster = found.tokens_per_second
            if faster is not None and faster >= CLEARLY * speed:
                n_lanes, speed = 2 * n_lanes, faster
                continue
            reason = f"{n_lanes} do not fit" if faster is None else f"{n_lanes} are not clearly faster"
        return Choice(max(1, n_lanes // 2), n_trunks, tuple(measured), reason)


def format_choice(group: Group, choice: Choice, limit: float) -> str:
    """Return one line about a group: its shape, lanes, tokens per second of each lane count, and memory."""
    taken = next(m.memory_bytes for m in choice.measured if m.lanes == choice.lanes)
    return (
        f"{group.description}: {choice.lanes} of {choice.n_trunks} trunks side by side ({choice.reason});"
        f" {format_speeds(choice)}; {format_bytes(taken)} of {format_bytes(limit)}"
    )


def format_speeds(choice: Choice) -> str:
    """Return the speeds in words, such as "tokens/s by lanes 1: 99,721, 2: does not fit"."""
    return "tokens/s by lanes " + ", ".join(
        f"{m.lanes}: {m.tokens_per_second:,.0f}" if m.tokens_per_second else f"{m.lanes}: does not fit"
        for m in choice.measured
    )


def measure(group: Group, n_lanes: int, datasets: Mapping[DataConfig, Dataset], limit: float) -> Measured:
    """Compile the step with so many lanes, and time it on the first batches of the group's trunks.

    The step and its inputs are those of training, which then finds the program compiled. One lane is timed in
    any case.

    Args:
        group: The group.
        n_lanes: Number of lanes.
        datasets: The prepared text of each data configuration.
        limit: The memory in bytes. More than one lane is not timed if it needs more.
    """
    started = time.monotonic()
    runs = [trunk[-1].run for trunk in group.trunks[:n_lanes]]
    lanes = _stand_in(runs)
    memory = count_bytes(lanes, runs, datasets)
    if n_lanes > 1 and memory > limit:
        return Measured(n_lanes, None, memory, time.monotonic() - started)

    def take(n_steps: int) -> float:
        before = time.monotonic()
        losses = [
            lanes.step([make_input(run, datasets[run.data], step) for run in runs]) for step in range(n_steps)
        ]
        jax.device_get(losses)
        return (time.monotonic() - before) / n_steps

    take(1)
    n_steps = int(np.clip(TURN_SECONDS / take(1), 1, STEPS_PER_READ))
    seconds = float(np.median([take(n_steps) for _ in range(N_TURNS)]))
    n_tokens = n_lanes * runs[0].tokens_per_step
    return Measured(n_lanes, n_tokens / seconds, memory, time.monotonic() - started)


def require_memory(group: Group, n_lanes: int, datasets: Mapping[DataConfig, Dataset]) -> None:
    """Compile the step with so many lanes.

    Raises:
        LoraJaxError: XLA says that it does not fit the memory.
    """
    runs = [trunk[-1].run for trunk in group.trunks[:n_lanes]]
    needed, limit = count_bytes(_stand_in(runs), runs, datasets), memory_limit()
    if needed > limit:
        raise LoraJaxError(
            f"{n_lanes} lanes of {group.description} take {format_bytes(needed)} by XLA's count, and the"
            f" memory is {format_bytes(limit)}: lower --lanes."
        )


def count_bytes(lanes: Lanes, runs: Sequence[RunConfig], datasets: Mapping[DataConfig, Dataset]) -> float:
    """Return the bytes of a step, and of the states that lanes put aside while they train branches.

    Raises:
        LoraJaxError: XLA does not report the memory of a step here.
    """
    given = [make_input(run, datasets[run.data], 0) for run in runs]
    step_bytes = lanes.memory_bytes(given)
    if step_bytes is None:
        raise LoraJaxError(
            f"{jax.default_backend()!r} does not tell the memory of a compiled step: pass --lanes 1."
        )
    forked: Any = jax.eval_shape(lambda: init_pretraining(runs[0].model, runs[0].optim, 0))
    state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(forked))
    return float(step_bytes + len(runs) * state_bytes)


def _stand_in(runs: Sequence[RunConfig]) -> Lanes:
    """Return lanes of the runs' shape. All of them hold one seed's weights."""
    first = runs[0]
    state = init_pretraining(first.model, first.optim, first.seed)
    return Lanes(make_pretraining_step(first.model, first.optim), [state] * len(runs))
