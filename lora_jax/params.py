"""Parameter trees: flat dictionaries of arrays, each weight declared once by a Spec."""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp

from lora_jax.errors import LoraJaxError

Params = dict[str, jax.Array]
Tree = TypeVar("Tree", bound=Mapping[Any, Any])  # Params, or nested mappings of somebody else's model


@dataclass(frozen=True)
class Spec:
    """One weight: its named axes, the axes that its matmul sums over, and how it starts.

    Shape, fan-in, parameter count, FLOPs, and whether weight decay reaches it are derived from this.
    A weight that multiplies nothing (a norm, a bias, an embedding that is only looked up) has no contracted
    axis. A tied embedding contracts its model axis, because the output head multiplies by it.
    """

    axes: tuple[tuple[str, int], ...]
    contract: tuple[str, ...] = ()
    std: float = 0.0  # starts as mean + std * noise
    mean: float = 0.0
    noise: Literal["normal", "uniform"] = "normal"  # both of standard deviation 1

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(size for _, size in self.axes)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def flops_per_token(self) -> int:
        """Multiply-adds of the forward matmul, counted as two FLOPs each."""
        return 2 * self.size if self.contract else 0

    @property
    def decays(self) -> bool:
        """Weight decay reaches matrices only."""
        return bool(self.contract)


Specs = dict[str, Spec]


def init(specs: Mapping[str, Spec], seed: int) -> Params:
    """Draw every weight in float32; a weight's values depend on the seed and its path, on nothing else."""
    return {path: _draw(spec, path, seed) for path, spec in specs.items()}


def _draw(spec: Spec, path: str, seed: int) -> jax.Array:
    if spec.std == 0.0:
        return jnp.full(spec.shape, spec.mean, jnp.float32)
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(path.encode()))
    if spec.noise == "uniform":
        return spec.mean + spec.std * jax.random.uniform(key, spec.shape, minval=-(3**0.5), maxval=3**0.5)
    return spec.mean + spec.std * jax.random.normal(key, spec.shape, jnp.float32)


def count(specs: Mapping[str, Spec]) -> int:
    """Return the number of parameters, without allocating any."""
    return sum(spec.size for spec in specs.values())


def partition(params: Tree, trainable: Callable[[str], bool]) -> tuple[Tree, Tree]:
    """Split a tree by path into the weights that train and the others.

    Differentiate and optimise the first alone. A tree is a flat dict or nested mappings: flax.linen's dicts
    or an nnx State. A path joins the keys along the way by "/". Each half has the kind of the given tree,
    without nodes that it holds no weight of.

    Args:
        params: The tree.
        trainable: Says of a path whether its weight trains.

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
    """Join two trees that share no path. This is the inverse of `partition`, up to order.

    Raises:
        LoraJaxError: Both hold the same weight, or one holds a weight where the other holds a node.
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

    An nnx State and a FrozenDict hold plain dicts, which they wrap in their own kind when they are asked for
    one; what goes back into such a parent must be plain again, or the tree's structure would be another.
    """
    return items if isinstance(node, dict) or type(node) is type(parent) else type(node)(items)


def _unwrap(value: Any, parent: Any) -> Any:
    """Return a child of a mapping as the mapping itself holds it."""
    if isinstance(value, dict) or not isinstance(value, Mapping) or type(value) is not type(parent):
        return value
    return {key: _unwrap(inner, value) for key, inner in value.items()}
