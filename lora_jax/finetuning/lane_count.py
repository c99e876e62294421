"""How many fine-tuning runs of one shape train side by side: as asked, all rivals, or as many as pay."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import finetune_id
from lora_jax.finetuning.feed import Feed
from lora_jax.finetuning.group import Placed, TuneRun, lane_shape, start_group
from lora_jax.model.declare import declare
from lora_jax.params import Spec, count
from lora_jax.peft.stacking import split_shared
from lora_jax.runs.lane_count import Measured, choose_lane_count, format_speeds, keep, memory_limit, recall
from lora_jax.runs.plan_table import format_bytes
from lora_jax.training.lanes import Lanes
from lora_jax.training.optimizers import make_optimizer

N_BATCHES, N_TURNS = 4, 3  # we step through so many batches so many times, and take the median time
# Bytes of each trained number beyond itself and the optimizer's state: the kept one, and two in a dev
# evaluation.
BYTES_KEPT = 4 * (1 + 2)


@dataclass(frozen=True)
class TuneGroup:
    """Runs of one shape.

    Attributes:
        runs: The runs that are to be trained.
        n_tokens: Tokens that they are to be trained on.
        n_rivals: As in `loop.finetune_group`.
        name: Name of a group of rivals. It does not depend on which of them are finished.
    """

    runs: tuple[TuneRun, ...]
    n_tokens: int
    n_rivals: int = 0
    name: str = ""

    @property
    def run_ids(self) -> list[str]:
        """The ids of the runs."""
        return [finetune_id(run.config) for run in self.runs]

    @property
    def trunks(self) -> tuple[TuneRun, ...]:
        """The runs, by the name that a group of pretraining has for its trunks."""
        return self.runs

    @property
    def lane_bytes(self) -> float:
        """Bytes that one lane takes at least, by shapes, without the base and what the step computes."""
        return max(map(count_own_bytes, self.runs))

    @property
    def base_bytes(self) -> float:
        """Bytes of the base's weights."""
        return float(sum(weight.nbytes for weight in self.runs[0].prepared.base.values()))

    @property
    def description(self) -> str:
        """The labels of the runs."""
        return ", ".join(dict.fromkeys(run.config.label for run in self.runs))


def count_own_bytes(run: TuneRun) -> float:
    """Return the bytes of a run's own weights: those that train, with moments, and new frozen ones."""
    method, model = run.config.method.build(run.prepared.model), run.prepared.model
    trained: dict[str, Spec] = {path: method.specs[path] for path in method.trainable}
    base = declare(model, method.n_top)
    frozen = {p: spec for p, spec in method.specs.items() if p not in base and p not in trained}
    optimizer = make_optimizer(run.config.optim.numbers)
    state = sum(4 * optimizer.state_arrays(spec) * spec.size for spec in trained.values())
    return float((4 + BYTES_KEPT) * count(trained) + state + 4 * count(frozen))


def check_memory(groups: Sequence[TuneGroup], limit: float) -> None:
    """Refuse a run whose weights alone do not fit the memory, before anything is made.

    Args:
        groups: The groups.
        limit: The memory in bytes.

    Raises:
        LoraJaxError: A run does not fit.
    """
    for group in groups:
        needed = group.base_bytes + group.lane_bytes
        if needed > limit:
            raise LoraJaxError(
                f"{group.description} takes at least {format_bytes(needed)}, and the memory is"
                f" {format_bytes(limit)}: choose a smaller base or rank."
            )


def check_lanes(groups: Sequence[TuneGroup], asked: int | None, limit: float) -> None:
    """Refuse lanes that do not fit the memory or are too few for halving, before anything is compiled.

    Args:
        groups: The groups.
        asked: The value of --lanes. None takes one lane for each rival of a group that halves.
        limit: The memory in bytes.

    Raises:
        LoraJaxError: The lanes do not fit, or they are too few.
    """
    for group in groups:
        if group.n_rivals and asked is not None and asked < len(group.runs):
            raise LoraJaxError(
                f"--halving compares the {len(group.runs)} rates of {group.description} side by side, and"
                f" --lanes is {asked}: make it {len(group.runs)} or auto, or leave --halving out."
            )
        n_lanes = min(len(group.runs), asked or (len(group.runs) if group.n_rivals else 1))
        needed = group.base_bytes + n_lanes * group.lane_bytes
        if n_lanes > 1 and needed > limit:
            most = int((limit - group.base_bytes) // group.lane_bytes)
            raise LoraJaxError(
                f"{n_lanes} lanes of {group.description} take at least {format_bytes(needed)}"
                f" ({format_bytes(group.base_bytes)} of the base and {format_bytes(group.lane_bytes)} each),"
                f" and the memory is {format_bytes(limit)}: {_remedy(group, most)}."
            )


def _remedy(group: TuneGroup, most: int) -> str:
    if group.n_rivals:
        return "leave --halving out, or give the method fewer rates"
    return f"lower --lanes to at most {most}" if most > 1 else "leave --lanes out"


def settle_lane_count(group: TuneGroup, asked: int | None, folder: Path, say: Callable[[str], None]) -> int:
    """Return how many runs of a group train side by side: as asked, all rivals, or as many as pay.

    What we measure is kept in lanes.json of the results folder. After a kill, the rest of the sweep reads it
    there.
    """
    n_runs, limit = len(group.runs), memory_limit()
    if asked is not None or group.n_rivals:
        n_lanes = min(n_runs, asked or n_runs)
        if n_lanes > 1:
            _require_memory(group, n_lanes, limit)
        return n_lanes
    if n_runs == 1:
        return 1
    shape = repr(lane_shape(group.runs[0].config))
    lanes = recall(folder, shape, n_runs)
    if lanes is not None:
        return lanes
    choice = choose_lane_count(
        group, lambda n_lanes: measure(group, n_lanes, limit), limit - group.base_bytes
    )
    keep(folder, shape, group.description, choice)
    say(f"{group.description}: {choice.lanes} of {n_runs} runs side by side; {format_speeds(choice)}")
    return choice.lanes


def measure(group: TuneGroup, n_lanes: int, limit: float) -> Measured:
    """Compile the step with so many lanes, and time it on the first batches of the group's runs.

    Args:
        group: The group.
        n_lanes: Number of lanes.
        limit: The memory in bytes. A step that needs more is not timed.
    """
    started = time.monotonic()
    runs = group.runs[:n_lanes]
    lanes, placed = start_group(runs)
    feeds = [Feed(run.config, run.prepared) for run in runs]
    memory = count_bytes(lanes, placed, feeds)
    if n_lanes > 1 and memory > limit:
        return Measured(n_lanes, None, memory, time.monotonic() - started)
    n_steps = min(N_BATCHES, *(feed.n_steps for feed in feeds))
    inputs = [[feed.make(step) for feed in feeds] for step in range(n_steps)]
    n_tokens = sum(sum(feed.n_tokens[step] for step in range(n_steps)) for feed in feeds)

    def take() -> float:
        before = time.monotonic()
        jax.device_get([lanes.step(given) for given in inputs])
        return time.monotonic() - before

    take()  # this compiles the step, once for each length of batch
    seconds = float(np.median([take() for _ in range(N_TURNS)]))
    return Measured(n_lanes, n_tokens / seconds, memory, time.monotonic() - started)


def _require_memory(group: TuneGroup, n_lanes: int, limit: float) -> None:
    """Compile the step with so many lanes. Refuse it if XLA says that it does not fit the memory."""
    runs = group.runs[:n_lanes]
    lanes, placed = start_group(runs)
    needed = count_bytes(lanes, placed, [Feed(run.config, run.prepared) for run in runs])
    if needed > limit:
        raise LoraJaxError(
            f"{n_lanes} lanes of {group.description} take {format_bytes(needed)} by XLA's count, and the"
            f" memory is {format_bytes(limit)}: {_remedy(group, n_lanes - 1)}."
        )


def count_bytes(lanes: Lanes, placed: Sequence[Placed], feeds: Sequence[Feed]) -> float:
    """Return the bytes that a step takes on the longest batches, and that the runs hold beside it.

    Raises:
        LoraJaxError: XLA does not report the memory of a step here.
    """
    step_bytes = lanes.memory_bytes([feed.longest() for feed in feeds])
    if step_bytes is None:
        raise LoraJaxError(
            f"{jax.default_backend()!r} does not tell the memory of a compiled step: pass --lanes 1."
        )
    _, own = split_shared([place.frozen for place in placed])
    frozen = sum(weight.nbytes for of_one in own for weight in of_one.values())
    n_trained = sum(
        int(np.prod(place.group_shapes[path])) for place in placed for path in place.method.trainable
    )
    return float(step_bytes + frozen + BYTES_KEPT * n_trained)
