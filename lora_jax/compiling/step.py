"""The training step of one shape, traced and compiled for a target."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from lora_jax.compiling.cudnn_checks import answering_for
from lora_jax.config import RunConfig
from lora_jax.model.compiled_for import compiling_for
from lora_jax.model.declare import declare
from lora_jax.model.placing import BATCH_AXES
from lora_jax.target import Target
from lora_jax.training.lanes import compile_step
from lora_jax.training.mesh import check_mesh, spread_step, state_shardings
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.step import StepInput, TrainState


@dataclass(frozen=True)
class Lowered:
    """A step that is traced but not compiled.

    Attributes:
        lowered: What JAX's `lower` returned.
        whole_bytes: By path, the bytes of every array of the state that each device holds whole.
    """

    lowered: Any
    whole_bytes: Mapping[str, float]


def lower_step(run: RunConfig, target: Target, mesh: Mesh) -> Lowered:
    """Trace a run's training step as it would train on the target's devices.

    With one device there is no mesh, because the plain step trains there.

    Raises:
        LoraJaxError: The mesh does not divide the run.
    """
    with compiling_for(target), answering_for(target):
        state = jax.eval_shape(lambda: init_pretraining(run.model, run.optim, 0))
        step = make_pretraining_step(run.model, run.optim)
        if mesh.size == 1:
            everywhere = split = SingleDeviceSharding(mesh.devices.flat[0])
            places: Any = jax.tree.map(lambda _: everywhere, state)
        else:
            check_mesh(mesh, run)
            step = spread_step(mesh, run.model, step)
            everywhere, split = (
                NamedSharding(mesh, PartitionSpec()),
                NamedSharding(mesh, PartitionSpec(BATCH_AXES)),
            )
            places = state_shardings(mesh, declare(run.model), state)
        given = _describe_input(run, split, everywhere)
        lowered = compile_step(step, False).lower(jax.tree.map(_placed, state, places), {}, {}, given)
    return Lowered(lowered, _find_whole(state, places) if mesh.size > 1 else {})


def _describe_input(run: RunConfig, split: Sharding, everywhere: Sharding) -> StepInput:
    hyperparams = make_hyperparams(run.optim, run.optim.learning_rate)
    numbers = jax.tree.map(
        lambda number: _placed(jax.eval_shape(lambda: jnp.asarray(number)), everywhere), hyperparams
    )
    windows = jax.ShapeDtypeStruct((run.optim.batch_size, run.data.seq_len + 1), jnp.int32, sharding=split)
    return StepInput(windows, numbers)


def _placed(leaf: Any, sharding: Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _find_whole(state: TrainState, places: Any) -> dict[str, float]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {
        jax.tree_util.keystr(path): float(leaf.size * leaf.dtype.itemsize)
        for (path, leaf), place in zip(leaves, jax.tree.leaves(places), strict=True)
        if place.is_fully_replicated
    }
