"""The training step beside the floor given by its matmuls alone, and beside PyTorch where it is installed."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Lowered

from benchmarks.accelerator import peak_bytes
from benchmarks.figures import Figure, Row, Section
from benchmarks.rivals import HOW_TO_INSTALL, check_losses, find_compiler, is_here
from benchmarks.side import TURN_SECONDS, Side, Work, take_turns
from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.model.declare import flops_per_token
from lora_jax.runs.matmuls import compile_matmuls
from lora_jax.timing import Say, divide
from lora_jax.training.lanes import compile_step
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.step import Measured, StepInput, TrainState

HEAD_WIDTH = 32
VOCABULARY = 256
OPTIM = OptimConfig()
LEARNING_RATE = 1e-3
N_CHECKED = 3  # steps whose losses are told; the first is at the same weights
EAGER, COMPILED = "PyTorch eager", "PyTorch compiled"
SPEED_AT_LEAST = 1.0  # ours over PyTorch's


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
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_heads=max(1, self.d_model // HEAD_WIDTH),
            vocab_size=VOCABULARY,
            context=self.seq_len,
        )

    @property
    def tokens(self) -> int:
        """Tokens a step."""
        return self.batch * self.seq_len


SHAPES = (Shape(32, 2, 128, 32), Shape(64, 3, 128, 32), Shape(128, 4, 128, 32), Shape(256, 6, 256, 16))


def measure_steps(
    repeats: int, say: Say, shapes: Sequence[Shape] = SHAPES, turn_seconds: float = TURN_SECONDS
) -> tuple[Section, ...]:
    """Time a step, its matmuls alone, and PyTorch's step at every shape, each side a process, in turns."""
    rivals, missing = find_rivals()
    rows, beside, versions = [], [], ""
    for number, shape in enumerate(shapes, 1):
        say(f"step {number}/{len(shapes)}: {shape.label}{', beside PyTorch' if rivals else ''}")
        with ExitStack() as stack:
            sides = _start(shape, rivals, Path(stack.enter_context(tempfile.TemporaryDirectory())), stack)
            turns = {"step": sides["ours"].turn("step"), "floor": sides["ours"].turn("floor")}
            turns |= {name: sides[name].turn("step") for name in rivals}
            seconds = take_turns(turns, repeats, turn_seconds)
        rows.append(make_row(shape, seconds))
        if rivals:
            beside.append(make_rival_row(shape, seconds))
            told = next(sides[name].facts for name in rivals)
            versions = f"PyTorch {told['version']}, {told['threads']} threads"
    note = (
        "d: width x layers, T: tokens a sequence, B: sequences a step; GPT-2's shape, heads"
        f" {HEAD_WIDTH} wide, vocabulary {VOCABULARY}. floor: the matmuls of the step alone, forward and"
        " backward, in one compiled program, run in turns with the step."
    )
    first = Section(
        "step",
        "Training step: forward, backward, clipping and AdamW",
        tuple(rows),
        note=" ".join(filter(None, [note, "" if rivals else missing])),
    )
    if not rivals:
        return (first,)
    note = (
        f"{versions}; the same weights, batch and optimizer, the losses compared before the first turn; a"
        " process each."
    )
    second = Section("torch", "The same step by PyTorch", tuple(beside), note=f"{note} {missing}".strip())
    return first, second


def find_rivals() -> tuple[dict[str, bool], str]:
    """Return {name: is it compiled} of PyTorch's ways that can be timed here, and why any cannot."""
    if not is_here("torch"):
        return {}, f"PyTorch is not installed: {HOW_TO_INSTALL}."
    if jax.default_backend() not in ("cpu", "gpu"):
        return {}, f"PyTorch is timed on CPUs and GPUs alone, not on {jax.default_backend()}."
    if jax.default_backend() == "cpu" and find_compiler() is None:
        return {EAGER: False}, "torch.compile needs a C++ compiler (g++, or that of $CXX), and there is none."
    return {EAGER: False, COMPILED: True}, ""


def make_row(shape: Shape, seconds: Mapping[str, list[float]]) -> Row:
    """Turn the seconds of step and floor into figures."""
    flops = flops_per_token(shape.model, shape.seq_len) * shape.tokens
    return Row(
        shape.label,
        {**asdict(shape), "flops": flops},
        (
            Figure("tokens/s", "tokens/s", tuple(shape.tokens / s for s in seconds["step"])),
            Figure("step", "ms", tuple(1e3 * s for s in seconds["step"])),
            Figure("floor", "ms", tuple(1e3 * s for s in seconds["floor"])),
            Figure("step / floor", "ratio", tuple(divide(seconds["step"], seconds["floor"])), better="less"),
            Figure("floor's speed", "GFLOP/s", tuple(1e-9 * flops / s for s in seconds["floor"])),
        ),
    )


def make_rival_row(shape: Shape, seconds: Mapping[str, list[float]]) -> Row:
    """Turn the seconds of ours and of PyTorch's ways into tokens per second and the ratio of a round."""
    names = {"step": "ours", EAGER: "eager", COMPILED: "compiled"}
    figures = [
        Figure(name, "tokens/s", tuple(shape.tokens / s for s in seconds[key]))
        for key, name in names.items()
        if key in seconds
    ]
    figures += [
        Figure(
            f"ours / {names[key]}",
            "ratio",
            tuple(divide(seconds[key], seconds["step"])),
            at_least=SPEED_AT_LEAST,
            better="more",
        )
        for key in (EAGER, COMPILED)
        if key in seconds
    ]
    return Row(shape.label, asdict(shape), tuple(figures))


def lower_step(shape: Shape) -> Lowered:
    """Trace the step for arrays of this shape, ready to be compiled; nothing is allocated."""
    state = jax.eval_shape(lambda: init_pretraining(shape.model, OPTIM, 0))
    windows_BU = jax.ShapeDtypeStruct((shape.batch, shape.seq_len + 1), jnp.int32)
    step = compile_step(make_pretraining_step(shape.model, OPTIM), False)
    return step.lower(state, {}, {}, StepInput(windows_BU, make_hyperparams(OPTIM, LEARNING_RATE)))


def prepare_step(
    shape: Shape, compiled: Callable[..., tuple[TrainState, Measured]]
) -> Callable[..., jax.Array]:
    """Return a function that takes so many steps (1 by default), waits for the last, and returns its loss.

    The first call goes on from a fresh state, each other from where the one before it ended.
    """
    state = init_pretraining(shape.model, OPTIM, 0)
    given = StepInput(draw_windows(shape), make_hyperparams(OPTIM, LEARNING_RATE))

    def step(times: int = 1) -> jax.Array:
        nonlocal state
        loss = jnp.zeros(())
        for _ in range(times):
            state, measured = compiled(state, {}, {}, given)
            loss = measured.loss
        jax.block_until_ready((state, loss))
        return loss

    return step


def draw_windows(shape: Shape) -> jax.Array:
    return jax.random.randint(jax.random.key(0), (shape.batch, shape.seq_len + 1), 0, VOCABULARY, jnp.int32)


def work_on_step(settings: dict[str, Any]) -> Work:
    """Make our side: the step and its floor; leave the weights and the batch in settings["folder"]."""
    jax.config.update("jax_enable_compilation_cache", False)
    shape, folder = Shape(**settings["shape"]), Path(settings["folder"])
    weights: dict[str, Any] = init_pretraining(shape.model, OPTIM, 0).trainable
    np.savez(folder / "weights.npz", **weights)
    np.save(folder / "windows.npy", np.asarray(draw_windows(shape)))
    step = prepare_step(shape, lower_step(shape).compile())
    floor = compile_matmuls(shape.model, shape.batch, shape.seq_len)
    losses = [float(step(1)) for _ in range(N_CHECKED)]

    def run_floor(times: int) -> None:
        for _ in range(times):
            floor()

    return Work({"step": step, "floor": run_floor}, {"losses": losses}, peak_bytes())


def _start(shape: Shape, rivals: Mapping[str, bool], folder: Path, stack: ExitStack) -> dict[str, Side]:
    """Start our side, then PyTorch's from what it leaves, and see that they have the same loss."""
    given = {"shape": asdict(shape), "folder": str(folder)}
    sides = {"ours": stack.enter_context(Side("benchmarks.steps:work_on_step", given))}
    platform = jax.default_backend()
    optim = asdict(OPTIM) | {"learning_rate": LEARNING_RATE}
    for name, compiled in rivals.items():
        settings = {
            "folder": str(folder),
            "platform": platform,
            "compiled": compiled,
            "optim": optim,
            "n_checked": N_CHECKED,
        }
        sides[name] = stack.enter_context(Side("benchmarks.pytorch.step:work_on_step", settings))
        check_losses(
            f"{name}, {shape.label}", sides["ours"].facts["losses"], sides[name].facts["losses"], platform
        )
    return sides
