"""Courses driven side by side: what each is told, when they stop, and who goes on at a rung."""

from collections.abc import Callable, Generator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.params import Params
from lora_jax.training.lanes import Lanes
from lora_jax.training.side_by_side import (
    STEPS_PER_READ,
    Lane,
    Rung,
    StepRequest,
    StepResult,
    Stopped,
    Trial,
    drive,
)
from lora_jax.training.step import Measured, TrainState


def count_up(state: TrainState, frozen: Params, given: Any) -> tuple[TrainState, Measured]:
    """Add the input to w: the loss is w before, so that every step of every lane can be told apart."""
    w = state.trainable["w"]
    return TrainState(step=state.step + 1, trainable={"w": w + given}, opt_state=()), Measured(w, w, w)


def start(w: float) -> TrainState:
    return TrainState(step=jnp.zeros((), jnp.int32), trainable={"w": jnp.float32(w)}, opt_state=())


def make_lanes(*starts: float) -> Lanes:
    return Lanes(count_up, [start(w) for w in starts])


def ones(_: int) -> np.float32:
    return np.float32(1)


def train(n_steps: int, losses: list[float]) -> Generator[StepRequest, StepResult, bool]:
    """Take so many steps; return whether it was told to stop."""
    while n_steps > 0:
        answer = yield StepRequest(n_steps, ones)
        assert 1 <= len(answer.losses) <= min(n_steps, STEPS_PER_READ)
        assert answer.elapsed > 0
        assert answer.seconds in (None, answer.elapsed)
        losses += answer.losses
        n_steps -= len(answer.losses)
        if answer.stopping:
            return True
    return False


@pytest.mark.parametrize("lengths", [(25,), (25, 3), (7, 7, 40), (1, 2, 3, 4, 30)])
def test_every_trial_gets_its_own_losses_to_its_end(lengths: tuple[int, ...]) -> None:
    losses: list[list[float]] = [[] for _ in lengths]

    def begin(number: int) -> Callable[[Lane], Trial]:
        def trial(lane: Lane) -> Trial:
            yield from train(lengths[number], losses[number])
            assert float(lane.read().trainable["w"]) == 100 * number + lengths[number]

        return trial

    lanes = make_lanes(*(100.0 * number for number in range(len(lengths))))
    drive(lanes, [begin(number) for number in range(len(lengths))], lambda: False)
    assert losses == [[100.0 * k + i for i in range(n)] for k, n in enumerate(lengths)]
    assert lanes.n_lanes == 1, "the last one ran in the plain program"


def test_a_lane_can_be_put_back_and_others_do_not_feel_it() -> None:
    ends: list[float] = []

    def branching(lane: Lane) -> Trial:
        yield from train(5, [])
        forked = lane.read()
        yield from train(4, [])
        lane.write(forked)
        yield from train(1, [])
        ends.append(float(lane.read().trainable["w"]))

    def plain(lane: Lane) -> Trial:
        yield from train(30, [])
        ends.append(float(lane.read().trainable["w"]))

    drive(make_lanes(0.0, 50.0, 90.0), [branching, plain, plain], lambda: False)
    assert sorted(ends) == [6.0, 80.0, 120.0]


def test_all_are_told_to_stop() -> None:
    steps, told = iter(range(100)), []

    def trial(lane: Lane) -> Trial:
        if (yield from train(60, [])):
            told.append(float(lane.read().trainable["w"]))

    with pytest.raises(Stopped):
        drive(make_lanes(0.0, 100.0), [trial, trial], lambda: next(steps) == 17)
    assert told == [18.0, 118.0]


# ---- rungs


def run_rivals(
    scores: list[float], rung: Callable[[float], Rung], steps: list[int] | None = None
) -> tuple[list[int], list[float]]:
    """Drive rivals that take steps, wait at a rung, and go on; return who went on, and where they ended."""
    steps = steps or [5] * len(scores)
    kept: list[int] = []
    ends: list[float] = []

    def begin(number: int) -> Callable[[Lane], Trial]:
        def trial(lane: Lane) -> Trial:
            yield from train(steps[number], [])
            if (yield rung(scores[number])):
                kept.append(number)
                yield from train(10, [])
                ends.append(float(lane.read().trainable["w"]) - 100 * number)

        return trial

    lanes = make_lanes(*(100.0 * number for number in range(len(scores))))
    drive(lanes, [begin(number) for number in range(len(scores))], lambda: False)
    return sorted(kept), ends


@pytest.mark.parametrize(
    ("n_kept", "kept"), [(None, [1, 3, 4]), (1, [3]), (2, [1, 3]), (4, [0, 1, 3, 4]), (9, [0, 1, 2, 3, 4])]
)
def test_the_best_go_on(n_kept: int | None, kept: list[int]) -> None:
    scores = [4.0, 2.0, 5.0, 1.0, 3.0]
    found, ends = run_rivals(scores, lambda score: Rung(score, 5, n_kept))
    assert found == kept
    assert ends == [15.0] * len(kept)


def test_who_waits_at_a_rung_goes_on_from_where_it_came_to() -> None:
    found, ends = run_rivals([1.0, 2.0], lambda score: Rung(score, n_kept=2), steps=[3, 38])
    assert found == [0, 1]
    assert sorted(ends) == [13.0, 48.0], "its lane was stepped while it waited, its state was not"


def test_rungs_are_taken_in_their_order() -> None:
    """As after a kill: one has passed the first rung, and its rivals of the first are still before it."""
    told: list[tuple[int, int]] = []

    def begin(number: int, rungs: list[int]) -> Callable[[Lane], Trial]:
        def trial(lane: Lane) -> Trial:
            for step in rungs:
                yield from train(5, [])
                if not (yield Rung(float(number), step, 2 if step == 10 else 1)):
                    told.append((number, step))
                    return
            yield from train(3, [])

        return trial

    begins = [begin(0, [20]), begin(1, [10, 20]), begin(2, [10, 20]), begin(3, [10, 20])]
    drive(make_lanes(0.0, 1.0, 2.0, 3.0), begins, lambda: False)
    assert sorted(told) == [(1, 20), (2, 20), (3, 10)]
