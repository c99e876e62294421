"""What it costs to watch: a step that tells its gradient and update, beside one that tells its loss alone."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from benchmarks.figures import Figure, Row, Section
from benchmarks.steps import LEARNING_RATE, OPTIM, SHAPES, VOCABULARY, Shape
from lora_jax.params import Params
from lora_jax.timing import Say, divide, interleave
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.step import StepInput, TrainState

COST_AT_MOST = 1.01  # of a step that is watched, over one that is not
STEPS_A_TURN = 10


def measure_watching(repeats: int, say: Say, shapes: Sequence[Shape] = SHAPES[:3]) -> Section:
    """Time turns of steps of both kinds at every shape, and of the second kind twice."""
    rows = []
    for shape in shapes:
        say(f"watching: {repeats} rounds of {shape.label}")
        kinds = {"watched": True, "alone": False, "again": False}
        turns = {name: Turns(shape, is_watched).take for name, is_watched in kinds.items()}
        seconds = interleave(turns, repeats)
        ratios = {name: tuple(divide(seconds[name], seconds["alone"])) for name in ("watched", "again")}
        figures = (
            Figure("step", "ms", tuple(1e3 * s / STEPS_A_TURN for s in seconds["watched"])),
            Figure("watched / loss alone", "", ratios["watched"], COST_AT_MOST),
            Figure("loss alone / loss alone", "", ratios["again"]),
        )
        rows.append(Row(shape.label, {"steps_a_turn": STEPS_A_TURN}, figures))
    return Section(
        "watching",
        "A step that tells its gradient and its update",
        tuple(rows),
        note="loss alone / loss alone: two copies of one program, so what differs is the machine's noise.",
    )


class Turns:
    """Steps of one model, a turn at a time."""

    def __init__(self, shape: Shape, is_watched: bool) -> None:
        step = make_pretraining_step(shape.model, OPTIM)
        self._state = init_pretraining(shape.model, OPTIM, 0)
        windows = np.random.default_rng(0).integers(0, VOCABULARY, (shape.batch, shape.seq_len + 1))
        self._given = StepInput(windows.astype(np.int32), make_hyperparams(OPTIM, LEARNING_RATE))
        self._step = jax.jit(step if is_watched else partial(_tell_loss, step), donate_argnums=0)

    def take(self) -> None:
        """Take a turn of steps, and wait for the last."""
        told: Any = None
        for _ in range(STEPS_A_TURN):
            self._state, told = self._step(self._state, {}, self._given)
        jax.block_until_ready((self._state, told))


def _tell_loss(
    step: Any, state: TrainState, frozen: Params, given: StepInput
) -> tuple[TrainState, jax.Array]:
    """Take a step of which nothing but the loss is wanted, so that XLA leaves the rest out."""
    state, measured = step(state, frozen, given)
    return state, measured.loss
