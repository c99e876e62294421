"""Which trunks of a plan train side by side, because they have one shape, and which of them are rivals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lora_jax.config import digest
from lora_jax.errors import LoraJaxError
from lora_jax.runs.plan import PlannedRun
from lora_jax.runs.plan_table import format_bytes
from lora_jax.training.schedules import cooldown_start
from lora_jax.training.trunk import RungAt, Shape, shape_of

MOST_LANES = 16
RUNGS = (1 / 4, 1 / 2)  # after these shares of the longest run's steps, the worse half of rivals is halted

Trunk = tuple[PlannedRun, ...]  # the runs of one trunk


@dataclass(frozen=True)
class Group:
    """Trunks of one shape.

    Attributes:
        shape: What their compiled step depends on.
        trunks: The trunks, each with its runs that are not finished. Those with most to train come first.
        rungs: Where successive halving may stop them. Empty without halving.
        name: Name of a group of rivals. It does not depend on which of them are finished.
    """

    shape: Shape
    trunks: tuple[Trunk, ...]
    rungs: tuple[RungAt, ...] = ()
    name: str = ""

    @property
    def n_tokens(self) -> int:
        """Tokens that are to be trained."""
        return sum(item.own_tokens for trunk in self.trunks for item in trunk)

    @property
    def run_ids(self) -> list[str]:
        """The runs that are to be trained."""
        return [item.run_id for trunk in self.trunks for item in trunk]

    @property
    def lane_bytes(self) -> float:
        """Predicted memory of one lane, in bytes."""
        return max(item.memory_bytes for trunk in self.trunks for item in trunk)

    @property
    def description(self) -> str:
        """The model's size and the batch, in words."""
        shape = self.shape
        return f"d{shape.model.d_model}x{shape.model.n_layers}, batch {shape.batch_size} x {shape.seq_len}"


def group_by_shape(planned: Sequence[PlannedRun]) -> list[Group]:
    """Put trunks of one shape together.

    Trunks with most to train come first, and finished runs are left out.
    """
    trunks = _by_trunk([item for item in planned if not item.finished])
    trunks.sort(key=lambda trunk: -sum(item.own_tokens for item in trunk))  # a long one should not end alone
    by_shape: dict[Shape, list[Trunk]] = {shape_of(item.run): [] for item in planned if not item.finished}
    for trunk in trunks:
        by_shape[shape_of(trunk[0].run)].append(trunk)
    return [Group(shape, tuple(members)) for shape, members in by_shape.items()]  # in the order of the plan


def group_rivals(planned: Sequence[PlannedRun], n_most: int = MOST_LANES) -> list[Group]:
    """Put trunks together that differ only in the optimizer's numbers, at most `n_most`, with their rungs.

    The whole plan decides who the rivals are, whether they are finished or not. So a sweep that continues
    after a kill has the same rungs.

    Raises:
        LoraJaxError: No two trunks are rivals.
    """
    rivals: dict[Any, list[Trunk]] = {}
    for trunk in _by_trunk(planned):
        rivals.setdefault(_rivalry(trunk), []).append(trunk)
    parts = [
        Group(shape_of(trunks[0][0].run), tuple(trunks[i : i + n_most]))
        for trunks in rivals.values()
        for i in range(0, len(trunks), n_most)
    ]
    if not any(len(part.trunks) > 1 for part in parts):
        raise LoraJaxError(
            "--halving found no two runs that differ in the optimizer's numbers alone, but it needs several"
            " rates for one model, data, seed and n_tokens: add learning rates to the config, or leave it"
            " out."
        )
    pending = [tuple(filter(None, map(_unfinished, part.trunks))) for part in parts]
    return [
        Group(part.shape, trunks, make_rungs(part), _name(part))
        for part, trunks in zip(parts, pending, strict=True)
        if trunks
    ]


def make_rungs(rivals: Group) -> tuple[RungAt, ...]:
    """Return the two rungs at which the worse half of the rivals is halted. A single trunk has no rungs.

    A rung inside the longest run's cooldown is moved to the step right before it.
    """
    n = len(rivals.trunks)
    if n == 1:
        return ()
    longest = max((item.run for item in rivals.trunks[0]), key=lambda run: run.n_tokens)
    steps = [min(round(share * longest.n_steps), cooldown_start(longest)) for share in RUNGS]
    kept = {step: -(-n // 2 ** (number + 1)) for number, step in enumerate(steps)}
    return tuple(RungAt(step, n_kept) for step, n_kept in kept.items())


def check_lanes(groups: Sequence[Group], most: int, limit: float) -> None:
    """Refuse more lanes than the memory holds by prediction, before anything is compiled.

    Args:
        groups: The groups.
        most: Largest number of lanes.
        limit: The memory in bytes.

    Raises:
        LoraJaxError: The lanes do not fit.
    """
    for group in groups:
        n_lanes = min(most, len(group.trunks))
        needed = n_lanes * group.lane_bytes
        if n_lanes > 1 and needed > limit:
            raise LoraJaxError(
                f"{n_lanes} lanes of {group.description} would take {format_bytes(needed)}, and the memory is"
                f" {format_bytes(limit)}: pass --lanes {max(1, int(limit // group.lane_bytes))} or lower."
            )


def check_memory(planned: Sequence[PlannedRun], limit: float) -> None:
    """Refuse a run whose step does not fit the memory by prediction, before anything is made.

    Args:
        planned: The runs.
        limit: The memory in bytes.

    Raises:
        LoraJaxError: A run does not fit.
    """
    for item in planned:
        if not item.finished and item.memory_bytes > limit:
            raise LoraJaxError(
                f"a step of {item.description} would take {format_bytes(item.memory_bytes)}, and the memory"
                f" is {format_bytes(limit)}: lower optim.batch_size, data.seq_len or the model's size."
            )


def _rivalry(trunk: Trunk) -> Any:
    run = trunk[0].run
    lengths = tuple(sorted(item.run.n_tokens for item in trunk))
    return shape_of(run), run.data, run.seed, run.optim.schedule, lengths


def _name(rivals: Group) -> str:
    return f"rivals-{digest([trunk[0].trunk_id for trunk in rivals.trunks])}"


def _unfinished(trunk: Trunk) -> Trunk:
    return tuple(item for item in trunk if not item.finished)


def _by_trunk(planned: Sequence[PlannedRun]) -> list[Trunk]:
    trunks: dict[str, list[PlannedRun]] = {}
    for item in planned:
        trunks.setdefault(item.trunk_id, []).append(item)
    return [tuple(trunk) for trunk in trunks.values()]
