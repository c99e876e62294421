"""Damped, projected Newton for many members of a batch, which pass through a window.

When some members end, others take their place. So nobody waits for the slowest of a batch, and a member's
answer does not depend on the other members.

A step that raises the objective is not taken. Parameters that the runs hardly separate make a narrow, curved
valley, whose floor every long step leaves, and short steps need thousands. So a member that has gone on for
CURVED steps takes such a step on trial. The next step, from there, leads back to the floor. If the objective
is then lower than before, the member stays there, else it goes back. This is the watchdog technique of
Chamberlain, Powell, Lemarechal and Pedersen 1982, Mathematical Programming Study 16, 1.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lora_jax.scaling.fitting.objectives import Objective
from lora_jax.scaling.fitting.steps import Bounds, Local, held_by, step_inside
from lora_jax.scaling.laws.law import Array

FIRST_DAMPING, MOST_DAMPING = 1e-3, 1e12
CURVED = 50  # steps after which a member takes steps on trial
STALL_STEPS = 50  # a rejected step is tried again up to about 12 times, each shorter
Index = NDArray[np.int64]


class Limits(NamedTuple):
    """When a member ends that has not reached the gradient it should.

    Attributes:
        steps: It ends after this many steps.
        fall: It also ends if its objective fell by less than this in STALL_STEPS steps. This is for callers
            that need the objective alone, and not the place along a valley where it is reached.
    """

    steps: int = 2000
    fall: float = 0.0


class Members(Protocol):
    """What is minimised, for each member of a batch."""

    def rows(self, index: Index) -> "Members":
        """Return the members with these indices."""
        ...

    def derivatives(self, theta: Array, goal: Objective) -> Local:
        """Return the objective and its derivatives at theta (B, P)."""
        ...


def descend(
    members: Members,
    goal: Objective,
    theta: Array,
    bounds: Bounds,
    stop: float,
    limits: Limits,
    width: int,
    done: Callable[[int], None] | None = None,
) -> Array:
    """Minimise an objective for each member of a batch, from its row of theta.

    Args:
        members: What is minimised.
        goal: The objective.
        theta: Starting points, (B, P).
        bounds: Lower and upper bounds, (B, P) each.
        stop: The gradient at which a member is finished.
        limits: When a member ends that does not reach `stop`.
        width: How many members move at a time.
        done: Called with the number of members that have ended since the last call.

    Returns:
        Where the members ended, (B, P): at a gradient of `stop`, at a limit, or where no step helps.
    """
    theta = np.clip(theta, *bounds)
    descent = _Descent(members, goal, theta, bounds, stop, limits)
    joined = 0
    while True:
        room = width - len(descent.index)
        ended = 0
        if joined < len(theta) and 2 * room >= width:
            end = min(joined + room, len(theta))
            ended = descent.join(np.arange(joined, end, dtype=np.int64))
            joined = end
        ended += descent.leave()
        if ended and done is not None:
            done(ended)
        if len(descent.index):
            descent.step()
        elif joined == len(theta):
            return theta


class _Descent:
    """The members in the window: `index` says which, and the other arrays are in its order.

    result (B, P): where those that have left it came to rest. theta, here: the best place of each. tried,
    there: the place of those that took a step on `trial`.
    """

    def __init__(
        self, members: Members, goal: Objective, result: Array, bounds: Bounds, stop: float, limits: Limits
    ) -> None:
        self.everybody, self.goal, self.result, self.bounds = members, goal, result, bounds
        self.stop, self.limits = stop, limits
        n_params = result.shape[1]
        self.index: Index = np.arange(0, dtype=np.int64)
        self.theta = result[:0].copy()
        self.here = Local(
            np.zeros(0), np.zeros((0, n_params)), *(np.zeros((0, n_params, n_params)) for _ in range(2))
        )
        self.tried, self.there, self.trial = self.theta, self.here, np.zeros(0, dtype=bool)
        self.damping, self.steps = np.zeros(0), np.zeros(0, dtype=np.int64)
        self.before, self.stalls = np.zeros(0), np.zeros(0, dtype=bool)  # the objective when last looked at
        self._settle()

    def join(self, index: Index) -> int:
        """Take in more members; return how many stay at their start, where they are not defined."""
        here = self.everybody.rows(index).derivatives(self.result[index], self.goal)
        fine = here.is_finite()
        index, here = index[fine], here.at(fine)
        self.index = np.concatenate([self.index, index])
        self.theta = np.concatenate([self.theta, self.result[index]])
        self.tried = np.concatenate([self.tried, self.result[index]])
        self.here, self.there = self.here.join(here), self.there.join(here)
        self.damping = np.concatenate([self.damping, np.full(len(index), FIRST_DAMPING)])
        self.steps = np.concatenate([self.steps, np.zeros(len(index), dtype=np.int64)])
        self.before = np.concatenate([self.before, here.value])
        self.stalls = np.concatenate([self.stalls, np.zeros(len(index), dtype=bool)])
        self.trial = np.concatenate([self.trial, np.zeros(len(index), dtype=bool)])
        self._settle()
        return len(fine) - len(index)

    def leave(self) -> int:
        """Let those go that have arrived, or cannot get further; return how many went."""
        stays = (self.size > self.stop) & (self.damping < MOST_DAMPING) & ~self.stalls
        stays &= self.steps < self.limits.steps
        gone = len(stays) - int(stays.sum())
        if gone:
            self.result[self.index[~stays]] = self.theta[~stays]
            self.index, self.theta, self.here = self.index[stays], self.theta[stays], self.here.at(stays)
            self.tried, self.there, self.trial = self.tried[stays], self.there.at(stays), self.trial[stays]
            self.damping, self.steps = self.damping[stays], self.steps[stays]
            self.before, self.stalls = self.before[stays], self.stalls[stays]
            self._settle()
        return gone

    def step(self) -> None:
        """Try one step of each: it is taken where it lowers the objective, else the damping grows.

        Before it does, a member in a curved valley takes the step on trial.
        """
        theta, here, held, damping = self.theta, self.here, self.held, self.damping
        if self.trial.any():
            theta = np.where(self.trial[:, None], self.tried, theta)
            here = self.here.where(self.trial, self.there)
            held = held_by(theta, here.gradient, self.box)
            damping = np.where(self.trial, FIRST_DAMPING, damping)
        arrival = np.clip(theta + step_inside(theta, here, held, damping, self.box), *self.box)
        there = self.members.derivatives(arrival, self.goal)
        held = held_by(arrival, there.gradient, self.box)
        size = largest_open(there.gradient, held)
        # next to the minimum the objective no longer resolves a step; the gradient does
        value = self.here.value
        level = there.value <= value + 1e-12 * np.abs(value)
        better = (there.value < value) | (level & (size < self.size))
        is_finite = there.is_finite()  # a law may not be defined everywhere
        better &= is_finite
        self.theta[better] = arrival[better]
        self.here.put(better, there)
        self.held[better], self.size[better] = held[better], size[better]
        trial = ~better & is_finite & ~self.trial & (self.steps >= CURVED)
        if trial.any():
            self.tried[trial] = arrival[trial]
            self.there.put(trial, there)
        larger = np.where(trial, self.damping, np.maximum(self.damping * 10, 1e-8))
        self.damping = np.where(better, np.maximum(self.damping * 0.1, 1e-15), larger)
        self.trial = trial
        self.steps += 1
        if self.limits.fall:
            self._look_for_stalls()

    def _look_for_stalls(self) -> None:
        due = self.steps % STALL_STEPS == 0
        self.stalls[due] = (self.before - self.here.value)[due] < self.limits.fall
        self.before[due] = self.here.value[due]

    def _settle(self) -> None:
        """Bring what follows from `index` and `theta` up to date."""
        self.members = self.everybody.rows(self.index)
        self.box = (self.bounds[0][self.index], self.bounds[1][self.index])
        self.held = held_by(self.theta, self.here.gradient, self.box)
        self.size = largest_open(self.here.gradient, self.held)


def largest_open(gradient: Array, held: np.ndarray) -> Array:
    """Return the size of the largest entry of each gradient, (B,).

    Parameters that are held (B, P) do not count in the gradients (B, P).
    """
    return np.abs(np.where(held, 0, gradient)).max(-1)
