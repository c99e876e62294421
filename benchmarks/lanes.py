"""Runs side by side in one program, beside the same runs one after another."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from benchmarks.adapters import Opened, draw_tokens, make_batch, open_adapters
from benchmarks.figures import Figure, Row, Section
from benchmarks.side import TURN_SECONDS, Turn, take_turns
from benchmarks.steps import LEARNING_RATE, OPTIM, Shape
from lora_jax.config import ModelConfig
from lora_jax.model.declare import declare
from lora_jax.params import init
from lora_jax.timing import Say
from lora_jax.training.lanes import Lanes
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.step import StepInput

WIDTHS = (1, 4, 16)
N_STEPS = 200  # of a run, where compilation is counted
ADAPTERS_AT_LEAST = 4.0  # of 16 adapters on an accelerator, over one after another
ALONE, TOGETHER = "one after another", "side by side"


@dataclass(frozen=True)
class Group:
    """Runs of one shape: open(G) returns G of them in their lanes."""

    label: str
    tokens: int  # of one run's step
    open: Callable[[int], Opened]
    at_least: Mapping[int, float]  # what the ratio at a width has to reach


def choose_groups(is_cpu: bool) -> tuple[Group, ...]:
    """Return adapters on a frozen base, GPT-2 small on an accelerator, and tiny pretraining runs."""
    if is_cpu:
        base = Shape(128, 4, 128, 4)
        adapters = group_adapters("d 128 x 4", base.model, base.batch, base.seq_len, {})
    else:
        small = ModelConfig(d_model=768, n_layers=12, n_heads=12, vocab_size=50257, context=1024)
        adapters = group_adapters("GPT-2 small", small, 4, 128, {16: ADAPTERS_AT_LEAST})
    return adapters, group_pretraining("d 16 x 2", Shape(16, 2, 128, 4))


def group_adapters(
    label: str, model: ModelConfig, batch: int, seq_len: int, at_least: Mapping[int, float]
) -> Group:
    base = init(declare(model), 0)

    def open(width: int) -> Opened:
        batches = [make_batch(draw_tokens(model, batch, seq_len, seed)) for seed in range(width)]
        return open_adapters(model, base, batches)

    return Group(f"LoRA, {label}", batch * seq_len, open, at_least)


def group_pretraining(label: str, shape: Shape) -> Group:
    def open(width: int) -> Opened:
        step = make_pretraining_step(shape.model, OPTIM)
        states = [init_pretraining(shape.model, OPTIM, seed) for seed in range(width)]
        given = [
            StepInput(
                draw_tokens(shape.model, shape.batch, shape.seq_len + 1, seed),
                make_hyperparams(OPTIM, LEARNING_RATE),
            )
            for seed in range(width)
        ]
        return Opened(Lanes(step, states), given)

    return Group(f"pretraining, {label}", shape.tokens, open, {})


def measure_lanes(
    repeats: int,
    say: Say,
    groups: Sequence[Group] | None = None,
    widths: Sequence[int] = WIDTHS,
    turn_seconds: float = TURN_SECONDS,
) -> tuple[Section, ...]:
    """Time a step of G runs side by side and G steps of one run, in turns, and the compilation of both.

    The persistent cache has to be off before the process compiles anything (jax_enable_compilation_cache).
    """
    rows = []
    for group in choose_groups(jax.default_backend() == "cpu") if groups is None else groups:
        say(f"lanes: {group.label}, one run")
        compile_first(group.open(1))  # whatever a process does once in its life
        jax.clear_caches()
        solo = group.open(1)
        compiling = {1: compile_first(solo)}
        for width in widths:
            say(f"lanes: {group.label}, {width} side by side")
            together = solo if width == 1 else group.open(width)
            compiling.setdefault(width, 0.0)
            if width > 1:
                compiling[width] = compile_first(together)
            turns = {ALONE: make_turn(solo), TOGETHER: make_turn(together)}
            seconds = take_turns(turns, repeats, turn_seconds)
            rows.append(make_row(group, width, seconds, compiling))
    note = (
        "G runs, T 128, batch 4; tokens/s of all together, compiled. The ratio is to one after another, where"
        f" runs of one shape share a program; with compilation: of runs of {N_STEPS} steps. One run is the"
        " control: both its ways are one program."
    )
    return (Section("lanes", "Runs side by side in one program", tuple(rows), note=note),)


def make_row(
    group: Group, width: int, seconds: Mapping[str, Sequence[float]], compiling: Mapping[int, float]
) -> Row:
    """Turn the seconds of a step of one run, and of one step of all, into figures."""
    alone, together = np.array(seconds[ALONE]), np.array(seconds[TOGETHER])
    ratio = width * alone / together
    whole = (compiling[1] + N_STEPS * width * alone) / (compiling[width] + N_STEPS * together)
    asked, better = group.at_least.get(width), "more" if width > 1 else None
    return Row(
        f"{group.label}, G {width}",
        {"group": group.label, "lanes": width, "tokens": group.tokens, "n_steps": N_STEPS},
        (
            Figure(f"{ALONE}", "tokens/s", tuple((group.tokens / alone).tolist())),
            Figure(f"{TOGETHER}", "tokens/s", tuple((width * group.tokens / together).tolist())),
            Figure("ratio", "ratio", tuple(ratio.tolist()), at_least=asked, better=better),
            Figure("compiling", "s", (compiling[width],)),
            Figure("ratio with compilation", "ratio", tuple(whole.tolist()), better=better),
        ),
    )


def compile_first(opened: Opened) -> float:
    """Return the seconds of the first step, which compiles, beyond those of the second."""
    turn = make_turn(opened)
    first = turn(1)
    return max(0.0, first - turn(1))


def make_turn(opened: Opened) -> Turn:
    def turn(times: int) -> float:
        started = time.perf_counter()
        jax.block_until_ready([opened.lanes.step(opened.given) for _ in range(times)])
        return time.perf_counter() - started

    return turn
