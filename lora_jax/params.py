"""Parameter trees: flat dictionaries of arrays, each weight declared once by a Spec."""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from lora_jax.errors import LoraJaxError

Params = dict[str, jax.Array]


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


def partition(params: Mapping[str, jax.Array], trainable: Callable[[str], bool]) -> tuple[Params, Params]:
    """Split a tree by path into (trainable, frozen); differentiate and optimise the first alone."""
    chosen = {path: value for path, value in params.items() if trainable(path)}
    return chosen, {path: value for path, value in params.items() if path not in chosen}


def combine(first: Mapping[str, jax.Array], second: Mapping[str, jax.Array]) -> Params:
    """Join two trees that share no path; the inverse of `partition` (up to order)."""
    shared = first.keys() & second.keys()
    if shared:
        raise LoraJaxError(f"both trees hold {sorted(shared)}: combine wants trees that share no path.")
    return {**first, **second}
