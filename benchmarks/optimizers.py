"""The training step with each optimizer beside the step with AdamW, and what Muon's products take of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp

from benchmarks.figures import Figure, Row, Section
from benchmarks.steps import LEARNING_RATE, SHAPES, Shape
from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.model.declare import declare, flops_per_token
from lora_jax.runs.matmuls import compile_matmuls
from lora_jax.timing import Say, divide, interleave
from lora_jax.training.lanes import compile_step
from lora_jax.training.optimizers.lion import Lion
from lora_jax.training.optimizers.muon import Muon
from lora_jax.training.optimizers.optimizer import Optimizer, make_hyperparams
from lora_jax.training.optimizers.schedule_free import ScheduleFree
from lora_jax.training.optimizers.sgd import SGD
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.step import StepInput

ADAMW, FLOOR = "AdamW", "matmuls"
RIVALS: dict[str, Optimizer] = {"Muon": Muon(), "Lion": Lion(), "SGD": SGD(), "schedule-free": ScheduleFree()}
N_LARGE = 2  # repetitions of the large model's step


@dataclass(frozen=True)
class Case:
    """A model, and its batch in sequences."""

    label: str
    model: ModelConfig
    seq_len: int
    batch: int

    @property
    def flops(self) -> float:
        """FLOPs of forward and backward."""
        return float(flops_per_token(self.model, self.seq_len) * self.seq_len * self.batch)


GPT2 = ModelConfig(d_model=768, n_layers=12, n_heads=12, vocab_size=50_257, context=128)
LARGE = Case("GPT-2, 124 M, T 128, B 4", GPT2, 128, 4)


def measure_optimizers(
    repeats: int, say: Say, shapes: Sequence[Shape] = SHAPES, large: Case | None = LARGE
) -> Section:
    """Time the step with every optimizer in turns, and the matmuls of the step alone."""
    cases = [(Case(shape.label, shape.model, shape.seq_len, shape.batch), repeats) for shape in shapes]
    rows = []
    for number, (case, n) in enumerate([*cases, *([(large, N_LARGE)] if large else [])], 1):
        say(f"optimizers {number}: {case.label}")
        chosen = RIVALS if case is not large else {"Muon": RIVALS["Muon"]}
        actions = {ADAMW: prepare(case, None), **{name: prepare(case, rule) for name, rule in chosen.items()}}
        floor = compile_matmuls(case.model, case.batch, case.seq_len)
        rows.append(make_row(case, interleave({FLOOR: floor, **actions}, n)))
    return Section(
        "optimizers",
        "The training step by optimizer",
        tuple(rows),
        note="matmuls: those of forward and backward alone, without Muon's. Muon FLOPs: its products over"
        " those of forward and backward.",
    )


def prepare(case: Case, optimizer: Optimizer | None) -> Callable[[], object]:
    """Return a function that takes a step and waits for it."""
    schedule = "constant" if optimizer is not None and optimizer.takes_rate else "wsd"
    optim = OptimConfig(optimizer=optimizer, schedule=schedule, batch_size=case.batch)
    shape = case.batch, case.seq_len + 1
    windows_BU = jax.random.randint(jax.random.key(0), shape, 0, case.model.vocab_size, jnp.int32)
    given = StepInput(windows_BU, make_hyperparams(optim, LEARNING_RATE))
    step = compile_step(make_pretraining_step(case.model, optim), False)
    state = init_pretraining(case.model, optim, 0)

    def take() -> object:
        nonlocal state
        state, measured = step(state, {}, {}, given)
        return jax.block_until_ready((state, measured.loss))

    return take


def make_row(case: Case, seconds: Mapping[str, Sequence[float]]) -> Row:
    """Turn the seconds of each optimizer's step into figures."""
    figures = [Figure(name, "ms", tuple(1e3 * s for s in samples)) for name, samples in seconds.items()]
    floor = tuple(divide(seconds[ADAMW], seconds[FLOOR]))
    figures.append(Figure("AdamW / matmuls", "ratio", floor, better="less"))
    for name in seconds:
        if name not in (ADAMW, FLOOR):
            ratio = tuple(divide(seconds[name], seconds[ADAMW]))
            figures.append(Figure(f"{name} / AdamW", "ratio", ratio, better="less"))
    own = sum(RIVALS["Muon"].flops(spec) for spec in declare(case.model).values())
    figures.append(Figure("Muon FLOPs", "ratio", (own / case.flops,)))
    return Row(
        case.label,
        {"model": asdict(case.model), "seq_len": case.seq_len, "batch": case.batch},
        tuple(figures),
    )
