"""Lanes: the states of several runs of one shape, which one compiled program steps side by side.

The step is vmapped over the runs. What differs between them (weights, moments, batches, rates, keys) has a
leading lane axis. Frozen weights that all runs share have no lane axis. So a frozen base stays one array, and
its matmuls become one large matmul. A single lane has no lane axis and uses the plain step.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.params import Params, combine
from lora_jax.training.repeat import repeat_step
from lora_jax.training.step import Measured, Step, TrainState


@lru_cache(maxsize=8)
def compile_step(step: Step, side_by_side: bool) -> Any:
    """Compile a training step.

    Args:
        step: The step.
        side_by_side: Whether all arguments except `shared` have a lane axis.

    Returns:
        The jitted `step(state, shared, own, given) -> (state, Measured)`. The state you pass in is no longer
        valid afterwards. `shared` and `own` are the frozen weights and share no path.
    """

    def whole(state: TrainState, shared: Params, own: Params, given: Any) -> tuple[TrainState, Measured]:
        return step(state, combine(shared, own), given)

    return jax.jit(jax.vmap(whole, in_axes=(0, None, 0, 0)) if side_by_side else whole, donate_argnums=0)


def stack_inputs(given: Sequence[Any]) -> Any:
    """Stack the inputs of all lanes along a new first axis. A single lane's input is returned as it is."""
    return given[0] if len(given) == 1 else jax.tree.map(lambda *leaves: np.stack(leaves), *given)


class Lanes:
    """Runs side by side. A lane keeps its number until `keep` chooses which lanes continue.

    Attributes:
        is_warm: Whether the last step used a program that had run before, so that it compiled nothing.
    """

    def __init__(
        self,
        step: Step,
        states: Sequence[TrainState],
        frozen: Sequence[Params] = (),
        join: Callable[[Sequence[Any]], Any] = stack_inputs,
        steps_per_call: int = 1,
    ) -> None:
        """Put one run into each lane.

        Args:
            step: The training step, which all runs share.
            states: The state of each lane. They are donated, so you cannot use them afterwards.
            frozen: The frozen weights of each lane. If all lanes have the same array, it is shared. Any other
                frozen weight is stacked.
            join: Makes one input out of the inputs of all lanes. It may have to pad them to one shape.
            steps_per_call: How many steps one call takes if at least as many are wanted (`training.repeat`).
        """
        self._step, self._join, self.steps_per_call = step, join, steps_per_call
        self.n_lanes, self.is_warm = len(states), False
        self._seen: set[Any] = set()
        frozen = frozen or [{}] * len(states)
        first = frozen[0]
        same = {path for path in first if all(lane[path] is first[path] for lane in frozen)}
        self._shared = {path: weight for path, weight in first.items() if path in same}
        self._own = _stack([{p: w for p, w in lane.items() if p not in same} for lane in frozen])
        self._state = _stack(states)

    def advance(self, given: Sequence[Sequence[Any]]) -> Measured:
        """Take K steps in one call.

        Args:
            given: given[k][lane] is the input of a lane in step k. All have the same shape.

        Returns:
            The measurements, as arrays (K, n_lanes).
        """
        joined = [self._join(one) for one in given]
        if len(joined) == 1:
            measured = self._call(self._step, joined[0])
            return jax.tree.map(lambda leaf: leaf.reshape(1, self.n_lanes), measured)
        axis = 0 if self.n_lanes == 1 else 1  # behind the lanes
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves, axis), *joined)
        measured = self._call(repeat_step(self._step), stacked)
        return jax.tree.map(lambda leaf: leaf.reshape(self.n_lanes, len(given)).T, measured)

    def step(self, given: Sequence[Any]) -> jax.Array:
        """Take one step in every lane, each with its own input.

        Returns:
            The losses (n_lanes,). They are still on the device.
        """
        return self.advance([given]).loss[0]

    def _call(self, step: Step, stacked: Any) -> Measured:
        shapes = (self.n_lanes, *(np.shape(leaf) for leaf in jax.tree.leaves(stacked)))
        self.is_warm = shapes in self._seen
        self._seen.add(shapes)
        compiled = compile_step(step, self.n_lanes > 1)
        self._state, measured = compiled(self._state, self._shared, self._own, stacked)
        return measured

    def memory_bytes(self, given: Sequence[Any]) -> int | None:
        """Compile the step for inputs like these, and return its peak memory in bytes.

        We count arguments (states and frozen weights), results and everything in between. None if XLA does
        not report it. `step` runs the same program, so nothing is compiled twice.
        """
        compiled = compile_step(self._step, self.n_lanes > 1)
        found = compiled.lower(self._state, self._shared, self._own, self._join(given)).compile()
        stats = found.memory_analysis()
        if stats is None:
            return None
        results = stats.output_size_in_bytes - stats.alias_size_in_bytes
        return stats.argument_size_in_bytes + stats.temp_size_in_bytes + results

    def read(self, lane: int) -> TrainState:
        """Return a copy of one lane's state. Later steps do not change it."""
        return jax.tree.map(jnp.copy, self._state) if self.n_lanes == 1 else _read_lane(self._state, lane)

    def write(self, lane: int, state: TrainState) -> None:
        """Put a copy of another state into a lane, such as the trunk's after a branch has ended."""
        if self.n_lanes == 1:
            self._state = jax.tree.map(jnp.copy, state)
        else:
            self._state = _write_lane(self._state, state, lane)

    def keep(self, lanes: Sequence[int]) -> None:
        """Continue with these lanes only, numbered in this order. A narrower program steps them."""
        if self.n_lanes > 1:
            self._state, self._own = (_take(tree, lanes) for tree in (self._state, self._own))
        self.n_lanes = len(lanes)


@jax.jit
def _read_lane(stacked: TrainState, lane: int) -> TrainState:
    return jax.tree.map(lambda leaf: leaf[lane], stacked)


@partial(jax.jit, donate_argnums=0)  # in place: a second copy of all lanes might not fit
def _write_lane(stacked: TrainState, state: TrainState, lane: int) -> TrainState:
    return jax.tree.map(lambda leaf, one: leaf.at[lane].set(one), stacked, state)


def _stack(trees: Sequence[Any]) -> Any:
    return trees[0] if len(trees) == 1 else jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _take(tree: Any, lanes: Sequence[int]) -> Any:
    if len(lanes) == 1:
        return jax.tree.map(lambda leaf: leaf[lanes[0]], tree)
    return jax.tree.map(lambda leaf: leaf[np.array(lanes)], tree)
