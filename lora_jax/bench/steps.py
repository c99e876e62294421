"""The training step beside the floor given by its matmuls alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.stages import Lowered

from lora_jax.bench.figures import Figure, Row, Section
from lora_jax.bench.timing import Say, divide, interleave
from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.model.declare import flops_per_token
from lora_jax.runs.floor import compile_floor
from lora_jax.train.lanes import compile_step
from lora_jax.train.optim import make_knobs
from lora_jax.train.step import StepInput, TrainState, init_state, make_step

HEAD_WIDTH = 32
VOCABULARY = 256
OPTIM = OptimConfig()


@dataclass(frozen=True)
class Shape:
    """A model of GPT-2's shape with heads HEAD_WIDTH wide, and its batch in sequences."""

    d_model: int
    n_layers: int
    seq_len: int
    batch: int

    @property
    def label(self) -> str:
        return f"d {self.d_model} x {self.n_layers}, T {self.seq_len}, B {self.batch}"

    @property
    def model(self) -> ModelConfig:
        return ModelConfig(
            d_model=self.d_model, n_layers=self.n_layers, n_heads=max(1, self.d_model // HEAD_WIDTH),
            vocab_size=VOCABULARY, context=self.seq_len,
        )  # fmt: skip

    @property
    def tokens(self) -> int:
        """Tokens a step."""
        return self.batch * self.seq_len


SHAPES = (Shape(32, 2, 128, 32), Shape(64, 3, 128, 32), Shape(128, 4, 128, 32), Shape(256, 6, 256, 16))


def measure_steps(repeats: int, say: Say, shapes: Sequence[Shape] = SHAPES) -> Section:
    """Time a step and its matmuls alone in turns, at every shape."""
    rows = []
    for number, shape in enumerate(shapes, 1):
        say(f"step {number}/{len(shapes)}: {shape.label}")
        step = prepare_step(shape, lower_step(shape).compile())
        floor = compile_floor(shape.model, shape.batch, shape.seq_len)
        rows.append(make_row(shape, interleave({"step": step, "floor": floor}, repeats)))
    return Section(
        "step",
        "Training step: forward, backward, clipping and AdamW",
        tuple(rows),
        note="d: width x layers, T: tokens a sequence, B: sequences a step; GPT-2's shape, heads"
        f" {HEAD_WIDTH} wide, vocabulary {VOCABULARY}. floor: the matmuls of the step alone, forward and"
        " backward, in one compiled program, run in turns with the step.",
    )


def make_row(shape: Shape, seconds: dict[str, list[float]]) -> Row:
    """Turn the seconds of step and floor into figures."""
    flops = flops_per_token(shape.model, shape.seq_len) * shape.tokens
    return Row(
        shape.label,
        {
            "d_model": shape.d_model, "n_layers": shape.n_layers, "seq_len": shape.seq_len,
            "batch": shape.batch, "flops": flops,
        },
        (
            Figure("tokens/s", "tokens/s", tuple(shape.tokens / s for s in seconds["step"])),
            Figure("step", "ms", tuple(1e3 * s for s in seconds["step"])),
            Figure("floor", "ms", tuple(1e3 * s for s in seconds["floor"])),
            Figure("step / floor", "ratio", tuple(divide(seconds["step"], seconds["floor"]))),
            Figure("floor's speed", "GFLOP/s", tuple(1e-9 * flops / s for s in seconds["floor"])),
        ),
    )  # fmt: skip


def lower_step(shape: Shape) -> Lowered:
    """Trace the step for arrays of this shape, ready to be compiled; nothing is allocated."""
    state = jax.eval_shape(lambda: init_state(shape.model, OPTIM, 0))
    windows_BU = jax.ShapeDtypeStruct((shape.batch, shape.seq_len + 1), jnp.int32)
    step = compile_step(make_step(shape.model, OPTIM), False)
    return step.lower(state, {}, {}, StepInput(windows_BU, make_knobs(OPTIM, 1e-3)))


def prepare_step(
    shape: Shape, compiled: Callable[..., tuple[TrainState, jax.Array]]
) -> Callable[[], jax.Array]:
    """Return a function that takes one step after another from a fresh state and returns each loss."""
    state = init_state(shape.model, OPTIM, 0)
    windows_BU = jax.random.randint(
        jax.random.key(0), (shape.batch, shape.seq_len + 1), 0, VOCABULARY, jnp.int32
    )
    given = StepInput(windows_BU, make_knobs(OPTIM, 1e-3))

    def step() -> jax.Array:
        nonlocal state
        state, loss = compiled(state, {}, {}, given)
        jax.block_until_ready((state, loss))
        return loss

    return step
