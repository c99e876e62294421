"""Parameter trees: flat dictionaries of arrays, each weight declared once by a Spec."""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lora_jax.errors import LoraJaxError

Params = dict[str, jax.Array]
LAYERS = "layers"  # the axis that stacks the weights of equal blocks
# XLA compiles a program for each shape that is drawn, which takes 0.2 to 0.5 s of a core. JAX's numbers
# depend on the key and on their place alone. So a small weight, cut out of a row of one of these lengths,
# has the same bits.
LENGTHS = (4_096, 65_536)
Tree = TypeVar("Tree", bound=Mapping[Any, Any])  # Params, or nested mappings of a foreign model


@dataclass(frozen=True)
class Spec:
    """One weight: its named axes, the axes that its matrix product sums over, and how it starts.

    Shape, fan-in, parameter count, FLOPs and weight decay follow from it. A weight that multiplies nothing
    has no contracted axis: a norm, a bias, or an embedding that is only looked up. A tied embedding contracts
    its model axis, because the output head multiplies by it.

    Attributes:
        axes: Pairs (name, size), in the order of the shape.
        contract: Names of the axes that the matrix product sums over.
        std: Standard deviation of the initial values. 0 starts every number at `mean`.
        mean: Mean of the initial values.
        noise: Distribution of the initial values.
    """

    axes: tuple[tuple[str, int], ...]
    contract: tuple[str, ...] = ()
    std: float = 0.0
    mean: float = 0.0
    noise: Literal["normal", "uniform"] = "normal"

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return tuple(size for _, size in self.axes)

    @property
    def size(self) -> int:
        """The number of numbers."""
        return math.prod(self.shape)

    @property
    def fan_in(self) -> int:
        """The number of inputs that each output sums over. A weight that multiplies nothing has 1."""
        return math.prod(size for name, size in self.axes if name in self.contract)

    @property
    def fan_out(self) -> int:
        """The number of outputs, of one layer."""
        return math.prod(size for name, size in self.axes if name not in (*self.contract, LAYERS))

    @property
    def flops_per_token(self) -> int:
        """FLOPs of the forward product for one token. A multiply-add counts as two."""
        return 2 * self.size if self.contract else 0

    @property
    def decays(self) -> bool:
        """Whether weight decay acts on it. It acts on matrices only."""
        return bool(self.contract)


Specs = dict[str, Spec]


def init(specs: Mapping[str, Spec], seed: int) -> Params:
    """Draw every weight, in float32.

    Args:
        specs: The weights, by path.
        seed: Seed of the draw. The values of a weight depend only on the seed and its path.

    Returns:
        The weights, by path.
    """
    return {path: _draw(spec, path, seed) for path, spec in specs.items()}


def _draw(spec: Spec, path: str, seed: int) -> jax.Array:
    if spec.std == 0.0:
        return jnp.full(spec.shape, spec.mean, jnp.float32)
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(path.encode()))
    length = next((length for length in LENGTHS if spec.size <= length), None)
    if length is None or isinstance(key, jax.core.Tracer):
        return spec.mean + spec.std * _draw_noise(key, spec.noise, spec.shape)
    noise = np.asarray(_draw_noise(key, spec.noise, (length,)))[: spec.size].reshape(spec.shape)
    return jnp.asarray(spec.mean + spec.std * noise)  # in numpy: nothing is compiled for the shape


def _draw_noise(key: jax.Array, noise: Literal["normal", "uniform"], shape: tuple[int, ...]) -> jax.Array:
    """Draw numbers of mean 0 and variance 1."""
    if noise == "uniform":
        return jax.random.uniform(key, shape, minval=-(3**0.5), maxval=3**0.5)
    return jax.random.normal(key, shape, jnp.float32)


def count(specs: Mapping[str, Spec]) -> int:
    """Count the parameters. Nothing is allocated."""
    return sum(spec.size for spec in specs.values())


def partition(params: Tree, trainable: Callable[[str], bool]) -> tuple[Tree, Tree]:
    """Split a tree of weights into those that train and those that do not.

    Differentiate and optimise only the first half. Each half is a tree of the same kind as the given one,
    without the nodes that would be empty.

    Args:
        params: A flat dictionary or nested mappings, such as flax.linen's dictionaries or an nnx State.
        trainable: Takes a path and says whether its weight trains. A path joins the keys along the way by
            "/".

    Returns:
        (trainable, frozen).
    """
    chosen, rest = _split(params, trainable, "")
    return _like(params, chosen), _like(params, rest)


def _split(node: Any, trainable: Callable[[str], bool], prefix: str) -> tuple[Any, Any]:
    chosen: dict[Any, Any] = {}
    rest: dict[Any, Any] = {}
    for key, value in node.items():
        path = f"{prefix}{key}"
        if not isinstance(value, Mapping):
            (chosen if trainable(path) else rest)[key] = value
            continue
        inner, outer = _split(value, trainable, f"{path}/")
        if inner:
            chosen[key] = _like(value, inner, node)
        if outer or not inner:  # an empty node stays, in the frozen half
            rest[key] = _like(value, outer, node)
    return chosen, rest


def combine(first: Tree, second: Tree) -> Tree:
    """Join two trees that share no path. It undoes `partition`, up to order.

    Args:
        first: A tree, such as the weights that train.
        second: Another tree, such as the frozen weights.

    Returns:
        A tree of the kind of `first`, with the weights of both.

    Raises:
        LoraJaxError: Both trees hold the same weight, or one holds a weight where the other holds a node.
    """
    shared: list[str] = []
    joined = _join(first, second, "", shared)
    if shared:
        raise LoraJaxError(f"both trees hold {sorted(shared)}: combine wants trees that share no path.")
    return _like(first, joined)


def _join(first: Any, second: Any, prefix: str, shared: list[str]) -> Any:
    joined = {key: _unwrap(value, first) for key, value in first.items()}
    for key, value in second.items():
        if key not in joined:
            joined[key] = _unwrap(value, second)
        elif isinstance(joined[key], Mapping) and isinstance(value, Mapping):
            inner = _join(joined[key], value, f"{prefix}{key}/", shared)
            joined[key] = _like(value, inner, second)
        else:
            shared.append(f"{prefix}{key}")
    return joined


def _like(node: Any, items: dict[Any, Any], parent: Any = None) -> Any:
    """Return the items as a mapping of the node's kind.

    An nnx State and a FrozenDict hold plain dictionaries, and wrap them in their own kind on access. What
    goes back into such a parent must be plain again. Otherwise the tree would have another structure.
    """
    return items if isinstance(node, dict) or type(node) is type(parent) else type(node)(items)


def _unwrap(value: Any, parent: Any) -> Any:
    """Return a child of a mapping as the mapping itself holds it."""
    if isinstance(value, dict) or not isinstance(value, Mapping) or type(value) is not type(parent):
        return value
    return {key: _unwrap(inner, value) for key, inner in value.items()}
