"""The model's own gradients and its unrolled scan, each beside what JAX does unaided."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.figures import Figure, Row, Section
from benchmarks.steps import Shape, lower_step, prepare_step
from lora_jax.model import transformer
from lora_jax.model.attention import attend
from lora_jax.model.layers import gelu, linear
from lora_jax.runs.matmuls import pass_attention, pass_weight
from lora_jax.timing import Say, divide, interleave

Action = Callable[[], object]
MLP = (32, 128, 128, 512)  # B, T, D, F
ATTENTION = (32, 128, 2, 32)  # B, T, H, K
STEPS = (Shape(64, 3, 128, 32), Shape(128, 4, 128, 32), Shape(64, 8, 128, 16))
PLAIN, OWN, PRODUCTS = "plain", "as built", "products alone"


def measure_choices(
    repeats: int,
    say: Say,
    mlp: tuple[int, int, int, int] = MLP,
    attention: tuple[int, int, int, int] = ATTENTION,
    steps: Sequence[Shape] = STEPS,
) -> Section:
    """Time each choice of the model's code beside the plain way, and the gradients beside their products."""
    say("choices: gradients of an MLP and of attention")
    rows = [
        make_row(
            "MLP and its gradient", dict(zip("BTDF", mlp, strict=True)), interleave(make_mlps(*mlp), repeats)
        ),
        make_row(
            "attention and its gradient",
            dict(zip("BTHK", attention, strict=True)),
            interleave(make_attentions(*attention), repeats),
        ),
    ]
    for number, shape in enumerate(steps, 1):
        say(f"choices: step {number}/{len(steps)}, {shape.label}")
        rows += make_step_rows(shape, interleave(make_steps(shape), repeats))
    return Section(
        "choices",
        "Choices of the code: the plain way, and as built",
        tuple(rows),
        note="plain: JAX's own gradients, attention as a masked softmax, a scan of one block a turn.",
    )


def make_row(label: str, settings: dict[str, Any], seconds: Mapping[str, Sequence[float]]) -> Row:
    """Turn the seconds of the plain way, of what is built, and of the products into figures."""
    figures = [Figure(name, "ms", tuple(1e3 * s for s in samples)) for name, samples in seconds.items()]
    ratio = tuple(divide(seconds[PLAIN], seconds[OWN]))
    figures.append(Figure("plain / as built", "ratio", ratio, better="more"))
    return Row(label, settings, tuple(figures))


def make_step_rows(shape: Shape, seconds: Mapping[str, Sequence[float]]) -> list[Row]:
    """Turn the seconds of a step as built, and of the same with one choice undone, into a row for each."""
    rows = []
    for name in PLAIN_WAYS:
        settings = {
            "plain": name,
            "d_model": shape.d_model,
            "n_layers": shape.n_layers,
            "seq_len": shape.seq_len,
            "batch": shape.batch,
        }
        pair = {PLAIN: seconds[name], OWN: seconds[OWN]}
        rows.append(make_row(f"step with {name}, {shape.label}", settings, pair))
    return rows


def make_mlps(B: int, T: int, D: int, F: int) -> dict[str, Action]:
    """gelu(x u) v and its gradient by x, u and v."""
    keys = jax.random.split(jax.random.key(0), 3)
    x_BTD = jax.random.normal(keys[0], (B, T, D))
    u_DF, v_FD = jax.random.normal(keys[1], (D, F)) * D**-0.5, jax.random.normal(keys[2], (F, D)) * F**-0.5
    x_MD = x_BTD.reshape(B * T, D)
    return {
        PLAIN: _compile_gradient(lambda x, u, v: gelu(x @ u) @ v, x_BTD, u_DF, v_FD),
        OWN: _compile_gradient(lambda x, u, v: linear(gelu(linear(x, u)), v), x_BTD, u_DF, v_FD),
        PRODUCTS: _compile(
            lambda x, u, h, v: (pass_weight(x, u), pass_weight(h, v)), x_MD, u_DF, x_MD @ u_DF, v_FD
        ),
    }


def make_attentions(B: int, T: int, H: int, K: int) -> dict[str, Action]:
    """Causal attention and its gradient by q, k and v."""
    q, k, v = (jax.random.normal(key, (B, T, H, K)) for key in jax.random.split(jax.random.key(0), 3))
    merged = [x.transpose(0, 2, 1, 3).reshape(B * H, T, K) for x in (q, k, v)]
    return {
        PLAIN: _compile_gradient(attend_plainly, q, k, v),
        OWN: _compile_gradient(attend, q, k, v),
        PRODUCTS: _compile(pass_attention, *merged),
    }


def make_steps(shape: Shape) -> dict[str, Action]:
    """The whole training step as built, and with one choice undone at a time."""
    steps: dict[str, Action] = {OWN: prepare_step(shape, lower_step(shape).compile())}
    for name, (attribute, value) in PLAIN_WAYS.items():
        with _replaced(attribute, value):
            steps[name] = prepare_step(shape, lower_step(shape).compile())
    return steps


def attend_plainly(
    q_BTHK: jax.Array,
    k_BSHK: jax.Array,
    v_BSHK: jax.Array,
    *,
    causal: bool = True,
    visible: None = None,
    bias_BHTS: None = None,
) -> jax.Array:
    """Causal attention as one writes it down, differentiated by JAX; it has no other choice of `attend`'s."""
    assert causal
    assert visible is None
    assert bias_BHTS is None
    T, K = q_BTHK.shape[1], q_BTHK.shape[3]
    scores_BHTS = jnp.einsum("bthk,bshk->bhts", q_BTHK, k_BSHK) * K**-0.5
    weights_BHTS = jax.nn.softmax(jnp.where(jnp.tril(jnp.ones((T, T), bool)), scores_BHTS, -jnp.inf))
    return jnp.einsum("bhts,bshk->bthk", weights_BHTS, v_BSHK)


def multiply_plainly(x: jax.Array, w: jax.Array, n_contract: int = 1) -> jax.Array:
    """What `linear` computes, its axes and its gradient left to JAX."""
    return jnp.tensordot(x, w.astype(x.dtype), n_contract)


# What to put in place of which name of the transformer.
PLAIN_WAYS: dict[str, tuple[str, Any]] = {
    "plain matmul gradient": ("linear", multiply_plainly),
    "plain attention": ("attend", attend_plainly),
    "a scan not unrolled": ("UNROLL", 1),
}


@contextmanager
def _replaced(attribute: str, value: Any) -> Generator[None]:
    """Trace the transformer with another attribute; from its caches JAX would reuse an earlier trace."""
    before = getattr(transformer, attribute)
    jax.clear_caches()
    setattr(transformer, attribute, value)
    try:
        yield
    finally:
        setattr(transformer, attribute, before)
        jax.clear_caches()


def _compile_gradient(function: Callable[..., jax.Array], *arguments: jax.Array) -> Action:
    """Compile a function's value and its gradient by every argument, for a given gradient of the value."""

    def pull(gradient: jax.Array, *arguments: jax.Array) -> Any:
        value, pull_back = jax.vjp(function, *arguments)
        return value, pull_back(gradient)

    gradient = jax.random.normal(jax.random.key(1), jax.eval_shape(function, *arguments).shape)
    return _compile(pull, gradient, *arguments)


def _compile(function: Callable[..., Any], *arguments: jax.Array) -> Action:
    compiled = jax.jit(function).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))
