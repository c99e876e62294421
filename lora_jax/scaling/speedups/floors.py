"""How much of a speed-up depends on the floor: the same with every floor a little lower, and higher."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.newton import solve
from lora_jax.scaling.fitting.problem import pose
from lora_jax.scaling.joint.group_laws import GroupLaw, HowToFit
from lora_jax.scaling.tables.run_table import RunTable

FLOOR = "E"
STEP = 0.02  # in units of the loss: a floor is rarely known better


def refuse_floor_above(tables: Sequence[RunTable], fixed: Mapping[str, float]) -> None:
    """Refuse a floor that is pinned at or above a measured loss.

    Raises:
        LoraJaxError: One is.
    """
    if FLOOR not in fixed:
        return
    for table in tables:
        least = int(np.argmin(table["loss"]))
        loss = float(table["loss"][least])
        if loss <= fixed[FLOOR]:
            raise LoraJaxError(
                f"--fix E={fixed[FLOOR]:g} pins the floor at or above the loss {loss:.4f} of"
                f" {table.run_ids[least]} in {table.source}: pin it below {loss:.4g}."
            )


def has_free_floor(how: HowToFit) -> bool:
    """Return whether the law has a floor that was fitted."""
    return FLOOR in how.law.names and FLOOR not in how.fixed


def with_floors_moved(
    laws: Sequence[GroupLaw], tables: Sequence[RunTable], how: HowToFit, step: float
) -> list[GroupLaw | None] | None:
    """Return the laws with every floor moved by a step and the rest fitted again. None if that cannot be.

    It cannot be if the moved floor is no longer between 0 and the least loss, or if the fits share more than
    the floor.

    Args:
        laws: The laws.
        tables: The runs of each.
        how: How they were fitted.
        step: By how much the floors move, in units of the loss.
    """
    if not has_free_floor(how) or set(how.shared) - {FLOOR}:
        return None
    return [_with_floor_moved(law, table, how, step) for law, table in zip(laws, tables, strict=True)]


def _with_floor_moved(law: GroupLaw, table: RunTable, how: HowToFit, step: float) -> GroupLaw | None:
    params = law.params
    floor = params[FLOOR] + step
    if not 0 < floor < float(table["loss"].min()):
        return None
    problem = pose(how.law, table, how.goal, fixed={**how.fixed, FLOOR: floor})
    start = problem.law.to_theta({**params, FLOOR: floor}, problem.centre)
    theta = solve(problem.data, problem.goal, np.clip(start, *problem.bounds)[None], problem.bounds).theta[0]
    return replace(law, problem=problem, theta=theta)


def range_of_floors(
    value: Callable[[Sequence[GroupLaw]], float], moved: Sequence[Sequence[GroupLaw | None] | None]
) -> tuple[float | None, float | None] | None:
    """Return a number by the laws with lower floors and by those with higher floors. None without such laws.

    Args:
        value: The number, a function of the laws.
        moved: The laws with lower floors, and those with higher floors.
    """
    found = []
    for laws in moved:
        whole = None if laws is None else [law for law in laws if law is not None]
        number = None if laws is None or whole is None or len(whole) < len(laws) else value(whole)
        found.append(number if number is not None and np.isfinite(number) else None)
    return None if found == [None, None] else (found[0], found[1])
