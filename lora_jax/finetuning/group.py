"""Runs of one base and one method's shape as lanes: which may train together, and how they start."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp

from lora_jax.config import OptimConfig
from lora_jax.data.tasks import Encoded
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneConfig, finetune_id
from lora_jax.finetuning.prepare import Prepared
from lora_jax.finetuning.step import init_tuning, join_inputs, make_tune_step
from lora_jax.model.declare import declare
from lora_jax.params import Params, init
from lora_jax.peft.method import HEAD, Adapted, Method, MethodConfig
from lora_jax.peft.stacking import Shapes, adapt_all, common_shapes, own_shapes, program
from lora_jax.training.checkpoint import do_nothing, say_nothing
from lora_jax.training.lanes import Lanes
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.saving import DEFAULT, Saving


@dataclass(frozen=True)
class TuneRun:
    """One run to train.

    Attributes:
        config: The run's configuration.
        prepared: Its base and task.
        folder: Where its state is saved while it trains.
        say: Called with a line if a damaged checkpoint is dropped.
        saving: When its state is saved.
        guard: Called before anything is written. It raises LoraJaxError if another worker trains the run now.
        source: Windows of text that the base knows. They are scored at the end, in addition to the test
            split.
    """

    config: FinetuneConfig
    prepared: Prepared
    folder: Path
    say: Callable[[str], None] = say_nothing
    saving: Saving = DEFAULT
    guard: Callable[[], None] = do_nothing
    source: Encoded | None = None


@dataclass(frozen=True)
class Placed:
    """A run's place in its group.

    Attributes:
        run: The run.
        method: Its method, built for the model.
        frozen: The frozen weights, its own and the shared ones, padded to the group's shapes.
        shapes: Shapes of the run's weights if it trained alone.
        group_shapes: Shapes of its weights in the group.
        program: The method that stands for all methods of the group.
    """

    run: TuneRun
    method: Method
    frozen: Params
    shapes: Shapes
    group_shapes: Shapes
    program: MethodConfig


def lane_shape(config: FinetuneConfig) -> Hashable:
    """Return what runs must have in common to train side by side. Numbers that are data may differ."""
    optim = config.optim
    optimizer = make_optimizer(optim.numbers)
    # If an update depends on a weight's shape, padding a rank would change it.
    method = program(config.method) if optimizer.acts_by_entry else config.method
    return method, optim.batch_size, optimizer, optim.classes, optim.accumulate


def check_group(runs: Sequence[TuneRun]) -> None:
    """Refuse runs that are not of one shape, before anything is drawn or compiled.

    Raises:
        LoraJaxError: They differ in their base, in batch size or in shape.
    """
    first = runs[0]
    for other in runs:
        one, two = first.config, other.config
        names = f"{finetune_id(one)} and {finetune_id(two)} side by side"
        if other.prepared.pretrained is not first.prepared.pretrained:
            raise LoraJaxError(
                f"{names} have the bases {one.base} and {two.base}, loaded apart, they must share one:"
                " prepare it once for both."
            )
        if one.optim.batch_size != two.optim.batch_size:
            raise LoraJaxError(
                f"{names} have batches of {one.optim.batch_size} and {two.optim.batch_size} examples, they"
                " must be of one size: put them in groups of their own."
            )
        if lane_shape(one) != lane_shape(two):
            raise LoraJaxError(
                f"{names} are of different shapes, {program(one.method)} and {program(two.method)} with"
                f" {make_optimizer(one.optim.numbers)} and {make_optimizer(two.optim.numbers)}, read in"
                f" {one.optim.accumulate} and {two.optim.accumulate} parts: put them in groups of their own."
            )
    common_shapes([run.config.method.build(run.prepared.model) for run in runs])


def start_group(runs: Sequence[TuneRun]) -> tuple[Lanes, list[Placed]]:
    """Draw every run's weights, pad them to the largest rank, and put each run into a lane.

    Raises:
        LoraJaxError: The runs are not of one shape.
    """
    check_group(runs)
    model, base = runs[0].prepared.model, runs[0].prepared.base
    methods = [run.config.method.build(model) for run in runs]
    heads = [draw_head(run.prepared, run.config.seed) for run in runs]
    adapted = adapt_all(base, heads, methods, [run.config.seed for run in runs])
    shapes, shared_program = common_shapes(methods), program(runs[0].config.method)
    placed = [
        Placed(run, method, weights.frozen, own_shapes(method), shapes, shared_program)
        for run, method, weights in zip(runs, methods, adapted, strict=True)
    ]
    numbers: OptimConfig = runs[0].config.optim.numbers
    states = [
        init_tuning(Adapted(_copy(weights.trainable), weights.frozen), method, numbers)
        for weights, method in zip(adapted, methods, strict=True)
    ]
    step = make_tune_step(model, shared_program, numbers)
    return Lanes(step, states, [one.frozen for one in placed], join_inputs), placed


def _copy(trainable: Params) -> Params:
    """Return copies that a step may donate. The arrays may be the base's own."""
    return {path: jnp.array(weight, copy=True) for path, weight in trainable.items()}


def draw_head(prepared: Prepared, seed: int) -> Params:
    """Draw a classifier's new head from the run's seed. It is empty if the base has all weights.

    A pooler that the base lacks is not drawn again. Few methods train it, so adapter files do not hold it,
    and it is the same in every run.
    """
    specs = declare(prepared.model)
    return init({path: specs[path] for path in prepared.pretrained.new if path.startswith(HEAD)}, seed)


def draw_base(prepared: Prepared, seed: int) -> Params:
    """Return the base's weights, with a classifier's new head drawn from the run's seed."""
    return {**prepared.base, **draw_head(prepared, seed)}
