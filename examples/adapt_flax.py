"""LoRA on models that are not ours: a flax.linen MLP and an nnx one, each adapted to data it has not seen.

    .venv/bin/python examples/adapt_flax.py

Each is trained on one function, then adapted to another by 4 % of its numbers; the base stays as it was.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx

from lora_jax.peft.materialize import declare_lora, init_delta, materialize

D_IN, WIDTH = 8, 128
Predict = Callable[[Any, jax.Array], jax.Array]  # (params, x_BD) -> y_B


class LinenMLP(linen.Module):
    @linen.compact
    def __call__(self, x_BD: jax.Array) -> jax.Array:
        h_BF = linen.gelu(linen.Dense(WIDTH)(x_BD))
        h_BF = linen.gelu(linen.Dense(WIDTH)(h_BF))
        return linen.Dense(1)(h_BF)[:, 0]


class NnxMLP(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(D_IN, WIDTH, rngs=rngs)
        self.second = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.last = nnx.Linear(WIDTH, 1, rngs=rngs)

    def __call__(self, x_BD: jax.Array) -> jax.Array:
        h_BF = nnx.gelu(self.first(x_BD))
        return self.last(nnx.gelu(self.second(h_BF)))[:, 0]


def make_data(task: int) -> tuple[jax.Array, jax.Array]:
    """Return 256 points of a sine along a direction; each task has a direction of its own."""
    x_BD = jax.random.normal(jax.random.key(0), (256, D_IN))
    direction_D = jax.random.normal(jax.random.key(1 + task), (D_IN,)) / D_IN**0.5
    return x_BD, jnp.sin(2 * x_BD @ direction_D)


def train(loss: Callable[[Any], jax.Array], start: Any, n_steps: int, rate: float) -> Any:
    """Minimise a loss by Adam; only `start` has gradients and optimizer state."""
    optimizer = optax.adam(rate)

    @jax.jit
    def step(weights: Any, state: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(jax.grad(loss)(weights), state)
        return optax.apply_updates(weights, updates), state

    state = optimizer.init(start)
    for _ in range(n_steps):
        start, state = step(start, state)
    return start


def adapt(name: str, predict: Predict, params: Any, targets: list[str]) -> dict[str, float]:
    """Train a model on task 0, adapt it to task 1, print and return the losses."""

    def measure(params: Any, task: int) -> jax.Array:
        x_BD, y_B = make_data(task)
        return jnp.square(predict(params, x_BD) - y_B).mean()

    base = train(lambda params: measure(params, 0), params, n_steps=150, rate=3e-3)
    before = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(base)]

    declared = declare_lora(base, targets, rank=2, alpha=4.0)
    for path, one in declared.items():
        print(f"{name}: {path} {one.weight.shape}, rank {one.a.shape[-1]}, trains {one.a.size + one.b.size}")
    delta = train(
        lambda delta: measure(materialize(base, delta), 1),
        init_delta(declared, seed=0),
        n_steps=300,
        rate=1e-2,
    )
    n_trained, n_base = (sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (delta, base))
    merged = materialize(base, delta)  # an ordinary tree: save it, or go on without this library
    found = {
        "loss of the base on its task": float(measure(base, 0)),
        "loss of the base on the new task": float(measure(base, 1)),
        "loss of the adapted on the new task": float(measure(merged, 1)),
        "share of its numbers that trained": n_trained / n_base,
    }
    for words, value in found.items():
        print(f"{name}: {words} {value:.4f}")
    is_same = before == [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(base)]
    print(f"{name}: the base is {'unchanged' if is_same else 'CHANGED'}, byte for byte\n")
    return found


def adapt_linen() -> dict[str, float]:
    model = LinenMLP()
    params = model.init(jax.random.key(0), jnp.zeros((1, D_IN)))["params"]

    def predict(params: Any, x_BD: jax.Array) -> jax.Array:
        y_B = model.apply({"params": params}, x_BD)
        assert isinstance(y_B, jax.Array)  # apply may also return collections that changed
        return y_B

    return adapt("linen", predict, params, ["Dense_[01]/kernel"])


def adapt_nnx() -> dict[str, float]:
    # Beside the weights, rest holds what does not train, such as the counts of a dropout's random keys.
    structure, params, rest = nnx.split(NnxMLP(nnx.Rngs(0)), nnx.Param, ...)
    targets = ["first/kernel", "second/kernel"]
    return adapt("nnx", lambda params, x_BD: nnx.merge(structure, params, rest)(x_BD), params, targets)


if __name__ == "__main__":
    adapt_linen()
    adapt_nnx()
