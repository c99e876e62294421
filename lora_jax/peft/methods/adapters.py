"""Bottleneck adapters: small two-layer networks after or beside the sublayers of a frozen model.

Axes: B batch, T position, D model, R bottleneck, Y layers.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.model.declare import declare
from lora_jax.model.hooks import HookPoint, Hooks
from lora_jax.model.layers import ACTIVATIONS, layernorm, linear
from lora_jax.model.stacks import BLOCKS, TOP_BLOCKS
from lora_jax.params import Params, Spec, Specs, init
from lora_jax.peft.method import Method, task_head
from lora_jax.ranges import Factor, Finite, Layers, Rank, check_fields

Activation = Literal["relu", "gelu", "gelu_exact", "swish"]
NONLINEARITIES = {**ACTIVATIONS, "relu": jax.nn.relu, "swish": jax.nn.swish}
SUBLAYERS = {"attention": ("attn",), "mlp": ("mlp",), "both": ("attn", "mlp")}
NEAR_IDENTITY_STD = 1e-2  # as in Houlsby et al. 2019, before the cut at two standard deviations
NORM_EPS = 1e-5  # of the adapter's own LayerNorm, which is none of the model's


@dataclass(frozen=True, kw_only=True)
class AdapterH:
    """A bottleneck after attention and after the MLP: h + W_up f(W_down h).

    h is the output of the sublayer, before the residual sum. Both maps have biases. W_up starts at zero, so
    the model starts as the base. The paper also trains the norms: `Combined(methods=(AdapterH(),
    NormTuning()))`.

    Attributes:
        rank: Width of the bottleneck.
        activation: The function f.
        init_scale: Factor on the initial std of W_down, 1/sqrt(d_model).
        near_identity: Whether to draw W_down and W_up as the paper does. The model then starts near the base.
        top_layers: Adapt only this many blocks, from the top. None adapts all.

    Reference: Houlsby et al. 2019 (arXiv 1902.00751).
    """

    AS_DATA: ClassVar[dict[str, Any]] = {"rank": 1, "init_scale": 1.0, "near_identity": False}

    rank: Rank = 64
    activation: Activation = "gelu_exact"
    init_scale: Factor = 1.0
    near_identity: bool = False
    top_layers: Layers | None = None

    def __post_init__(self) -> None:
        check_fields(self, type(self).__name__)

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model."""
        place = _Place("adapter", SUBLAYERS["both"], self.activation)
        method = _build(model, place, self.rank, self.init_scale, self.top_layers)
        if not self.near_identity:
            return method

        def start(base: Params, seed: int) -> tuple[Params, Params]:
            return base, _draw_near_identity(
                {path: spec for path, spec in method.specs.items() if path not in base}, seed
            )

        return method._replace(start=start)


@dataclass(frozen=True, kw_only=True)
class AdapterL:
    """A bottleneck after the MLP of each block: h + W_up f(W_down LN(h)).

    The adapter has its own LayerNorm. W_up starts at zero, so the model starts as the base.

    Attributes:
        rank: Width of the bottleneck.
        activation: The function f.
        init_scale: Factor on the initial std of W_down, 1/sqrt(d_model).
        top_layers: Adapt only this many blocks, from the top. None adapts all.

    Reference: Lin et al. 2020 (arXiv 2004.03829).
    """

    AS_DATA: ClassVar[dict[str, Any]] = {"rank": 1, "init_scale": 1.0}

    rank: Rank = 64
    activation: Activation = "relu"
    init_scale: Factor = 1.0
    top_layers: Layers | None = None

    def __post_init__(self) -> None:
        check_fields(self, type(self).__name__)

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model."""
        place = _Place("adapter", SUBLAYERS["mlp"], self.activation, has_norm=True)
        return _build(model, place, self.rank, self.init_scale, self.top_layers)


@dataclass(frozen=True, kw_only=True)
class ParallelAdapter:
    """A bottleneck beside a sublayer: h + s W_up f(W_down x), where x is the input of the sublayer.

    W_up starts at zero, so the model starts as the base.

    Attributes:
        rank: Width of the bottleneck.
        where: The sublayers that get one.
        scale: The scale s.
        activation: The function f.
        init_scale: Factor on the initial std of W_down, 1/sqrt(d_model).
        top_layers: Adapt only this many blocks, from the top. None adapts all.

    Reference: He et al. 2022 (arXiv 2110.04366).
    """

    AS_DATA: ClassVar[dict[str, Any]] = {"rank": 1, "init_scale": 1.0}

    rank: Rank = 64
    where: Literal["mlp", "attention", "both"] = "mlp"
    scale: Finite = 4.0
    activation: Activation = "relu"
    init_scale: Factor = 1.0
    top_layers: Layers | None = None

    def __post_init__(self) -> None:
        check_fields(self, type(self).__name__)

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model."""
        place = _Place(
            "parallel_adapter", SUBLAYERS[self.where], self.activation, scale=self.scale, is_parallel=True
        )
        return _build(model, place, self.rank, self.init_scale, self.top_layers)


@dataclass(frozen=True)
class _Place:
    """Where a kind of adapter stands and what it computes.

    Its weights are "mlp_NAME/down" and so on. If `is_parallel`, it reads the input of the sublayer, otherwise
    the output.
    """

    name: str
    sublayers: tuple[str, ...]
    activation: str
    has_norm: bool = False
    scale: float = 1.0
    is_parallel: bool = False


def _build(model: ModelConfig, place: _Place, rank: int, init_scale: float, top_layers: int | None) -> Method:
    n_top = top_layers or 0
    base = declare(model, n_top)
    added: Specs = {}
    stack, n_layers = (TOP_BLOCKS, n_top) if n_top else (BLOCKS, model.n_layers)
    for sublayer in place.sublayers:
        block = _declare(model.d_model, n_layers, rank, init_scale, place.has_norm)
        added |= {f"{stack}{sublayer}_{place.name}/{path}": spec for path, spec in block.items()}
    return Method(
        specs=base | added,
        trainable=frozenset(added) | task_head(base),
        hooks=Hooks(sublayer=_adapt(place)),
        n_top=n_top,
    )


def _declare(d_model: int, n_layers: int, rank: int, init_scale: float, has_norm: bool) -> Specs:
    """Declare 2 D R + R + D numbers for each layer, and 2 D for a norm."""
    Y, D, R = ("layers", n_layers), ("d_model", d_model), ("rank", rank)
    specs: Specs = {
        "down": Spec((Y, D, R), ("d_model",), std=init_scale * d_model**-0.5),
        "down_bias": Spec((Y, R)),
        "up": Spec((Y, R, D), ("rank",)),
        "up_bias": Spec((Y, D)),
    }
    if has_norm:
        specs |= {"norm/scale": Spec((Y, D), mean=1.0), "norm/bias": Spec((Y, D))}
    return specs


def _adapt(place: _Place) -> Callable[[HookPoint, jax.Array, jax.Array], jax.Array]:
    activate = NONLINEARITIES[place.activation]

    def adapt(point: HookPoint, x_BTD: jax.Array, h_BTD: jax.Array) -> jax.Array:
        weights, path = point.weights, f"{point.path}_{place.name}"
        # Lower blocks have no adapter if only the upper ones are adapted.
        if point.path not in place.sublayers or f"{path}/down" not in weights:
            return h_BTD
        into_BTD = x_BTD if place.is_parallel else h_BTD
        if place.has_norm:
            norm = f"{path}/norm"
            into_BTD = layernorm(into_BTD, weights[f"{norm}/scale"], weights[f"{norm}/bias"], NORM_EPS)
        update_BTD = _affine(weights, f"{path}/up", activate(_affine(weights, f"{path}/down", into_BTD)))
        return h_BTD + (update_BTD if place.scale == 1.0 else place.scale * update_BTD)

    return adapt


def _affine(weights: Params, path: str, x: jax.Array) -> jax.Array:
    y = linear(x, weights[path])
    return y + weights[f"{path}_bias"].astype(y.dtype)


def _draw_near_identity(specs: Specs, seed: int) -> Params:
    """Draw matrices from a normal of std 1e-2, truncated at two standard deviations. Biases are zero.

    We draw uniform noise by the path, as for every weight, and map it by the quantiles of the truncated
    normal.
    """
    cdf, quantile = jax.scipy.stats.norm.cdf, jax.scipy.special.ndtri
    uniform = {p: Spec(s.axes, s.contract, std=3**-0.5, noise="uniform") for p, s in _matrices(specs)}
    drawn = init({**specs, **uniform}, seed)  # uniform from -1 to 1
    low, high = cdf(jnp.float32(-2.0)), cdf(jnp.float32(2.0))
    return {
        path: NEAR_IDENTITY_STD * quantile(low + (high - low) * (noise + 1) / 2) if path in uniform else noise
        for path, noise in drawn.items()
    }


def _matrices(specs: Specs) -> Iterable[tuple[str, Spec]]:
    return ((path, spec) for path, spec in specs.items() if spec.contract)


METHODS = (AdapterH, AdapterL, ParallelAdapter)
