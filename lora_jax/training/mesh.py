"""Training on a mesh of devices. The axis names of a weight's Spec decide where its parts lie.

Fully sharded data parallelism (Rajbhandari et al. 2020, arXiv 1910.02054) splits weights and moments along
d_model. Tensor parallelism (Shoeybi et al. 2019, arXiv 1909.08053) splits heads, feed-forward and vocabulary.
The step is the same pure function on every mesh. XLA inserts the communication.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lora_jax.config import ModelConfig, OptimConfig, RunConfig
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.model.declare import declare
from lora_jax.model.placing import BATCH_AXES, SPLIT_BY, TENSOR_AXIS
from lora_jax.params import Params, Spec, init
from lora_jax.ranges import whole
from lora_jax.training.lanes import stack_inputs
from lora_jax.training.loss import window_losses
from lora_jax.training.optimizers import make_optimizer
from lora_jax.training.pretraining import init_pretraining, make_evaluate
from lora_jax.training.step import Measured, Step, TrainState

MESH_AXES = (*BATCH_AXES, TENSOR_AXIS)
DEVICES = whole(1, 2**20)


def parse_mesh(text: str) -> dict[str, int]:
    """Parse a mesh such as "data=2,fsdp=2,tensor=2" into the sizes of its axes.

    Axes that are not named have size 1.

    Raises:
        LoraJaxError: The text names an unknown axis, an axis twice, or a size that is no positive number.
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        name, _, size = part.partition("=")
        if name in sizes:
            raise LoraJaxError(f"the mesh {text} names its axis {name!r} twice: name it once.")
        if name not in MESH_AXES:
            known = nearest(name, MESH_AXES)
            raise LoraJaxError(f"a mesh has no axis {name!r}{known}: write such as data=2,fsdp=4.")
        sizes[name] = DEVICES.read(f"--mesh, the axis {name!r},", size)
    return {name: sizes.get(name, 1) for name in MESH_AXES}


def make_mesh(text: str | None = None) -> Mesh:
    """Return the mesh that `text` names, over all devices of all processes.

    Args:
        text: The mesh, such as "data=2,fsdp=2". None puts all devices on fsdp.

    Raises:
        LoraJaxError: The text is no mesh, or the product of its sizes is not the number of devices.
    """
    sizes = mesh_sizes(text, len(jax.devices()), "JAX sees", "show JAX as many devices")
    return _arrange(sizes, jax.devices())


def mesh_of_devices(text: str | None, devices: Sequence[Any], name: str) -> Mesh:
    """Return the mesh over the devices of a target.

    Args:
        text: The mesh, such as "data=2,fsdp=2". None puts all devices on fsdp.
        devices: The devices.
        name: The target, for the message if the mesh does not match it.
    """
    sizes = mesh_sizes(text, len(devices), f"the target {name} has", "name such a target")
    return _arrange(sizes, devices)


def _arrange(sizes: tuple[int, ...], devices: Sequence[Any]) -> Mesh:
    """Put devices into a mesh. Where it can be, neighbours on an axis are neighbours on a TPU's torus."""
    return jax.make_mesh(sizes, MESH_AXES, (AxisType.Auto,) * len(MESH_AXES), devices=devices)


def mesh_sizes(text: str | None, n_devices: int, who: str, remedy: str) -> tuple[int, ...]:
    """Return the sizes of a mesh's axes.

    Args:
        text: The mesh. None puts all devices on fsdp.
        n_devices: Number of devices.
        who: Who has the devices, for the message, such as "JAX sees".
        remedy: What else could be done, for the message.

    Raises:
        LoraJaxError: The product of the sizes is not the number of devices.
    """
    sizes = parse_mesh(f"fsdp={n_devices}" if text is None else text)
    wanted = int(np.prod(list(sizes.values())))
    if wanted != n_devices:
        raise LoraJaxError(
            f"the mesh {text} is of {wanted} devices and {who} {n_devices}: choose sizes whose product is"
            f" {n_devices}, or {remedy}."
        )
    return tuple(sizes.values())


def check_mesh(mesh: Mesh, run: RunConfig) -> None:
    """Check that a mesh divides a run's weights and batch, before anything is compiled.

    Raises:
        LoraJaxError: It does not divide them.
    """
    weight_shardings(mesh, declare(run.model))
    parts, rows, name = batch_parts(mesh), run.optim.batch_size, "optim.batch_size"
    if run.optim.accumulate > 1:
        rows, name = rows // run.optim.accumulate, f"{name} / optim.accumulate"
    if rows % parts:
        raise LoraJaxError(
            f"{name} is {rows} and the mesh splits it in {parts} (data x fsdp): choose a multiple of {parts},"
            " or another mesh."
        )


def batch_parts(mesh: Mesh) -> int:
    """Return the number of parts into which the mesh splits a batch."""
    return int(np.prod([mesh.shape[axis] for axis in BATCH_AXES]))


def weight_shardings(mesh: Mesh, specs: Mapping[str, Spec]) -> dict[str, NamedSharding]:
    """Return where each weight lies.

    Raises:
        LoraJaxError: The mesh does not divide an axis.
    """
    return {path: _weight_sharding(mesh, path, spec) for path, spec in specs.items()}


def _weight_sharding(mesh: Mesh, path: str, spec: Spec) -> NamedSharding:
    axes: list[str | None] = []
    for name, size in spec.axes:
        axis = SPLIT_BY.get(name)
        parts = 1 if axis is None else mesh.shape[axis]
        axes.append(axis if parts > 1 else None)
        if size % parts:
            raise LoraJaxError(
                f"{path} has {size} {name} and the mesh splits them in {parts} ({axis}={parts}):"
                f" choose a mesh whose {axis} divides {size}, or another number of {name}."
            )
    while axes and axes[-1] is None:  # XLA writes it so, and a new weight's place must equal the old one's
        axes.pop()
    return NamedSharding(mesh, PartitionSpec(*axes))


def state_shardings(mesh: Mesh, specs: Mapping[str, Spec], state: Any) -> Any:
    """Return where each array of a TrainState lies.

    Moments lie where their weights do. Everything else is on every device.
    """
    weights, everywhere = weight_shardings(mesh, specs), NamedSharding(mesh, PartitionSpec())

    def find(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        name = getattr(path[-1], "key", None)
        return weights[name] if name in weights and leaf.shape == specs[name].shape else everywhere

    return jax.tree_util.tree_map_with_path(find, state)


def place(array: Any, sharding: NamedSharding) -> jax.Array:
    """Put an array onto the devices. Every process holds it whole, and each device takes its part."""
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    host = np.asarray(array)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def place_input(mesh: Mesh, given: Any) -> Any:
    """Put the input of a step onto the mesh. Arrays are split along their first axis, the batch.

    Every process makes the same host arrays, because they follow from the seed and the step alone.
    """
    split, everywhere = NamedSharding(mesh, PartitionSpec(BATCH_AXES)), NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: place(leaf, split if np.ndim(leaf) else everywhere), given)


def join_on(mesh: Mesh | None) -> Callable[[Sequence[Any]], Any]:
    """Return the `join` argument of `Lanes` for a mesh with a single lane, or for no mesh."""
    return stack_inputs if mesh is None else lambda given: place_input(mesh, stack_inputs(given))


def init_on(mesh: Mesh | None, model: ModelConfig, optim: OptimConfig, seed: int) -> TrainState:
    """Draw the initial state of a seed onto the mesh. It has the same bits as that of `init_pretraining`.

    At most one weight at a time is held whole.
    """
    if mesh is None:
        return init_pretraining(model, optim, seed)
    specs = declare(model)
    shardings = weight_shardings(mesh, specs)
    trainable = {path: place(init({path: spec}, seed)[path], shardings[path]) for path, spec in specs.items()}
    start = make_optimizer(optim).transform(specs, {}).init
    everywhere = state_shardings(mesh, specs, jax.eval_shape(start, trainable))
    opt_state = jax.jit(start, out_shardings=everywhere)(trainable)
    step = place(np.zeros((), np.int32), NamedSharding(mesh, PartitionSpec()))
    return TrainState(step=step, trainable=trainable, opt_state=opt_state)


@lru_cache(maxsize=4)
def spread_step(mesh: Mesh, model: ModelConfig, step: Step) -> Step:
    """Return a step of pretraining for a mesh. Equal arguments give the same one, so we compile it once."""
    return pin_step(mesh, declare(model), step)


def pin_step(mesh: Mesh, specs: Mapping[str, Spec], step: Step) -> Step:
    """Return the same pure step, traced on the mesh, whose results lie where its inputs lay.

    Otherwise XLA would choose a place for each new weight. If it differed from the old place, the second step
    would be another program.
    """

    def pinned(state: TrainState, frozen: Params, given: Any) -> tuple[TrainState, Measured]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            after, measured = step(state, frozen, given)
        places = state_shardings(mesh, specs, after)
        everywhere = NamedSharding(mesh, PartitionSpec())
        return jax.lax.with_sharding_constraint((after, measured), (places, everywhere))

    return pinned


def mesh_of(params: Params) -> Mesh | None:
    """Return the mesh on which the weights lie. None if they lie on a single device without a mesh."""
    sharding = next(iter(params.values())).sharding
    return sharding.mesh if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, Mesh) else None


@lru_cache(maxsize=4)
def make_evaluate_on(mesh: Mesh | None, model: ModelConfig) -> Callable[[Params, Any], jax.Array]:
    """Return the compiled `evaluate(params, windows_BU) -> losses (B,)` for a mesh or for none.

    On a mesh every device gets the whole answer.
    """
    if mesh is None:
        return make_evaluate(model)

    def measure(params: Params, windows_BU: jax.Array) -> jax.Array:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return window_losses(model, params, windows_BU)

    compiled = jax.jit(measure, out_shardings=NamedSharding(mesh, PartitionSpec()))
    return lambda params, windows_BU: compiled(params, place_input(mesh, np.asarray(windows_BU)))
