"""Batches made ahead are those of the steps, in order; mistakes come in their place, and the thread ends."""

import threading
import time
from collections.abc import Callable

import pytest

from lora_jax.data import Dataset
from lora_jax.data.ahead import BatchesAhead
from lora_jax.errors import LoraJaxError


def is_working() -> bool:
    return any(thread.name == "batches-ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("n_ahead", [1, 3, 100])
def test_batches_come_in_the_order_of_their_steps(n_ahead: int) -> None:
    with BatchesAhead(lambda step: step * step, range(5, 40, 2), n_ahead) as batches:
        assert list(batches) == [step * step for step in range(5, 40, 2)]
        assert list(batches) == []
    assert not is_working()


def test_no_more_are_made_than_may_be_ready() -> None:
    made: list[int] = []
    with BatchesAhead(lambda step: made.append(step), range(1000), 4) as batches:
        for taken in range(1, 20):
            next(batches)
            time.sleep(0.001)
            assert len(made) <= taken + 4
    assert len(made) < 30


def test_a_mistake_comes_in_the_place_of_its_batch() -> None:
    def make(step: int) -> int:
        if step == 3:
            raise LoraJaxError("the disk is damaged")
        return step

    batches = BatchesAhead(make, range(9))
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(LoraJaxError, match="the disk is damaged"):
            next(batches)
    batches.close()
    assert not is_working()


def test_a_loop_that_fails_leaves_no_thread() -> None:
    batches = BatchesAhead(lambda step: step, range(10**9))
    with pytest.raises(KeyboardInterrupt), batches:
        interrupt(batches)
    assert not is_working()
    batches.close()
    assert list(batches) == []


def interrupt(batches: BatchesAhead[int]) -> None:
    next(batches)
    raise KeyboardInterrupt


def test_they_are_the_datasets_own_and_cost_no_wait(make_dataset: Callable[..., Dataset]) -> None:
    """The loop sleeps for a step as it would wait for a device. Ten times 2 %: the machine may be busy."""
    dataset = make_dataset()
    with BatchesAhead(lambda step: dataset.batch(step, 16, 0), range(300)) as batches:
        for step in range(300):
            assert (
                (next(batches) == dataset.batch(step, 16, 0)).all()
                if step < 20
                else next(batches) is not None
            )
            time.sleep(0.001)
    assert batches.waited_seconds < 0.2 * 300 * 0.001
