"""Muon: an orthogonalised momentum (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec

from lora_jax.errors import LoraJaxError
from lora_jax.model.placing import BATCH_AXES
from lora_jax.params import LAYERS, Params, Spec
from lora_jax.ranges import BelowOne, Factor, Range, Small, check_fields
from lora_jax.training.optimizers.adamw import adam_rule
from lora_jax.training.optimizers.around import around
from lora_jax.training.optimizers.optimizer import Optimizer, Scale, complete_scales
from lora_jax.weight_class import WeightClass, classify

STEPS = 5  # steps of the iteration
QUINTIC = (3.4445, -4.7750, 2.0315)  # its coefficients, by Jordan
TINY = 1e-30  # a norm below it means that there is no gradient; the update is then zero

# The factor of the orthogonalised momentum, as a function of fan-in and fan-out.
SHAPE_RULES: dict[str, Callable[[int, int], float]] = {
    "moonlight": lambda fan_in, fan_out: 0.2 * max(fan_in, fan_out) ** 0.5,
    "jordan": lambda fan_in, fan_out: max(1.0, fan_out / fan_in) ** 0.5,
    "spectral": lambda fan_in, fan_out: (fan_out / fan_in) ** 0.5,
}


class MuonState(NamedTuple):
    """The state of Muon.

    Attributes:
        momentum: The momentum of the matrices, by path.
        adam: Adam's state of all other weights.
    """

    momentum: Params
    adam: Any


@dataclass(frozen=True, kw_only=True)
class Muon(Optimizer):
    """Muon on the matrices inside the model, Adam on all other weights.

    The momentum is m = beta m + (1 - beta) g. We orthogonalise (1 - beta) g + beta m, or m without Nesterov's
    step. Each layer's matrix is orthogonalised by itself. Its Spec says which axes are fan-in and fan-out,
    and the heads are joined. Embeddings, readouts, norms and biases follow Adam's rule.

    Attributes:
        beta: Decay of the momentum.
        nesterov: Whether to look one step ahead.
        shape_rule: What an update is multiplied by. "moonlight" is 0.2 sqrt(max(out, in)), so that an update
            is about as large as Adam's. "jordan" is sqrt(max(1, out / in)). "spectral" is sqrt(out / in).
        adam_rate: Learning rate of Adam's weights, relative to the run's.
        adam_decay: Weight decay of Adam's weights, relative to the run's.
        beta1: Adam's decay of the gradient's mean.
        beta2: Adam's decay of the mean of its square.
        eps: Adam's number that is added to the root of that mean.
    """

    kind: Literal["muon"] = "muon"
    beta: BelowOne = 0.95
    nesterov: bool = True
    shape_rule: Literal["moonlight", "jordan", "spectral"] = "moonlight"
    adam_rate: Factor = 1.0
    adam_decay: Annotated[float, Range(0, 1e6)] = 1.0
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.95
    eps: Small = 1e-8

    acts_by_entry = False
    has_second_moment = True  # that of Adam's weights

    def __post_init__(self) -> None:
        check_fields(self, "optim.optimizer")

    def transform(
        self, specs: Mapping[str, Spec], scales: Mapping[str, Scale]
    ) -> optax.GradientTransformationExtraArgs:
        """Return Muon's rule on the matrices and Adam's on the rest, with clipping before and decay after.

        Raises:
            LoraJaxError: There is no matrix among the weights.
        """
        matrices = {path: spec for path, spec in specs.items() if _is_taken(spec)}
        if not matrices:
            raise LoraJaxError(
                f"optim.optimizer is muon, which is for matrices, and none of the {len(specs)} weights that"
                f" train is one (such as {min(specs)}): take another optimizer, or train matrices."
            )
        others = {
            path: scale for path, scale in complete_scales(specs, scales).items() if path not in matrices
        }
        adam = adam_rule(self.beta1, self.beta2, self.eps, others)

        def init(params: Any) -> MuonState:
            momentum = {path: jnp.zeros_like(params[path]) for path in params if path in matrices}
            return MuonState(momentum, adam.init({path: params[path] for path in params if path in others}))

        def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, MuonState]:
            found, momentum = {}, {}
            for path, spec in matrices.items():
                found[path], momentum[path] = self._update(spec, updates[path], state.momentum[path])
            rest, adam_state = adam.update({path: updates[path] for path in others}, state.adam)
            return {**found, **cast(Params, rest)}, MuonState(momentum, adam_state)

        return around(optax.GradientTransformation(init, update), specs, scales)

    def _update(self, spec: Spec, gradient: jax.Array, momentum: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the update of one weight and its new momentum."""
        momentum = self.beta * momentum + (1 - self.beta) * gradient
        ahead = self.beta * momentum + (1 - self.beta) * gradient if self.nesterov else momentum
        x_YIO, restore = as_matrices(spec, ahead)
        factor = SHAPE_RULES[self.shape_rule](*x_YIO.shape[1:])
        return restore(factor * orthogonalise(x_YIO)), momentum

    def own_scale(self, spec: Spec) -> Scale:
        """Return 1 for matrices, and `adam_rate` and `adam_decay` for the rest."""
        return Scale() if _is_taken(spec) else Scale(rate=self.adam_rate, decay=self.adam_decay)

    def rule_of(self, spec: Spec) -> str:
        """Return "Muon" for matrices and "AdamW" for the rest."""
        return "Muon" if _is_taken(spec) else "AdamW"

    def update_norm(self, spec: Spec) -> float:
        """Return the factor of the shape rule for a matrix, and that of Adam for the rest."""
        if _is_taken(spec):
            return SHAPE_RULES[self.shape_rule](spec.fan_in, spec.fan_out)
        return (spec.fan_in * spec.fan_out) ** 0.5

    def state_arrays(self, spec: Spec) -> int:
        """Return 1 for a matrix, which has a momentum, and 2 for any other weight."""
        return 1 if _is_taken(spec) else 2

    def flops(self, spec: Spec) -> float:
        """Return the FLOPs of the iteration.

        Each of its steps takes three products with each layer's matrix.
        """
        if not _is_taken(spec):
            return 0.0
        small, large = sorted((spec.fan_in, spec.fan_out))
        n_layers = spec.size // (small * large)
        return float(STEPS * n_layers * (4 * small**2 * large + 2 * small**3))


def _is_taken(spec: Spec) -> bool:
    return classify(spec) is WeightClass.MATRIX


def as_matrices(spec: Spec, weight: jax.Array) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
    """Return a weight as one matrix for each layer, as the forward pass contracts it.

    Args:
        spec: The weight's axes and contraction. The sizes are taken from the array.
        weight: The array.

    Returns:
        The matrices (layers, fan-in, fan-out), and a function that turns such an array back into the weight's
        shape.
    """
    names = [name for name, _ in spec.axes]
    layers = [i for i, name in enumerate(names) if name == LAYERS]
    inputs = [i for i, name in enumerate(names) if name in spec.contract]
    outputs = [i for i in range(len(names)) if i not in (*layers, *inputs)]
    order = [*layers, *inputs, *outputs]
    moved = weight.transpose(order)
    n_layers = weight.shape[layers[0]] if layers else 1
    fan_in = 1
    for i in inputs:
        fan_in *= weight.shape[i]
    back = sorted(range(len(order)), key=order.__getitem__)

    def restore(x_YIO: jax.Array) -> jax.Array:
        return x_YIO.reshape(moved.shape).transpose(back)

    return moved.reshape(n_layers, fan_in, -1), restore


def orthogonalise(x_YIO: jax.Array) -> jax.Array:
    """Move the singular values of each matrix towards 1 and keep its singular vectors.

    We take five steps of X = a X + (b A + c A A) X with A = X X^T, starting from X / |X|. Singular values of
    rectangular matrices end at 0.68 to 1.13. Square matrices keep some small ones as well. A matrix of zeros
    stays zero.

    Args:
        x_YIO: The matrices (layers, fan-in, fan-out).

    Returns:
        Matrices of the same shape.
    """
    is_tall = x_YIO.shape[1] > x_YIO.shape[2]
    x_YMN = deal_layers(_iterate(deal_layers(x_YIO.mT if is_tall else x_YIO)))
    return x_YMN.mT if is_tall else x_YMN


def deal_layers(x_YMN: jax.Array) -> jax.Array:
    """Put each layer's matrix whole on one device of a mesh, if the number of layers allows it.

    If a matrix is split over devices, each of the fifteen products costs communication. A whole one costs it
    twice. Without a mesh, with tensor parallelism, or if the devices do not divide the layers, XLA chooses
    the place.
    """
    sizes = dict(jax.sharding.get_abstract_mesh().shape)
    if sizes.get("tensor", 1) == 1:
        for axes in (BATCH_AXES, BATCH_AXES[1:]):
            n = math.prod(sizes.get(axis, 1) for axis in axes)
            if n > 1 and x_YMN.shape[0] % n == 0:
                return jax.lax.with_sharding_constraint(x_YMN, PartitionSpec(axes))
    return x_YMN


def _iterate(x: jax.Array) -> jax.Array:
    """Iterate on wide matrices, all layers in one batched product.

    A loop over the layers is up to a fifth faster on a CPU, but then XLA keeps a second momentum in memory.
    """
    a, b, c = QUINTIC
    x = x / jnp.maximum(jnp.linalg.norm(x, axis=(-2, -1), keepdims=True), TINY)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x


OPTIMIZERS = (Muon,)
