"""Attention on a GPU, as far as it can be seen without one: when cuDNN is asked, and that lanes may ask."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn import fused_attention_stablehlo as cudnn

from lora_jax.model.attention import attend
from lora_jax.model.compiled_for import compiling_for
from lora_jax.model.fused_attention import has_fused_kernel
from lora_jax.target import Target

HOPPER = Target("gpu", "h100-80gb", capability=(9, 0))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trace for a Hopper GPU, and let JAX's own checks see its cuDNN; programs can be lowered, not run."""
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(cudnn, "check_compute_capability", lambda capability: True)
    with compiling_for(HOPPER):
        yield


def heads(n: int, dtype: str = "bfloat16", *, T: int = 128, width: int = 64, lanes: int = 0) -> jax.Array:
    return jnp.zeros(((lanes,) if lanes else ()) + (2, T, n, width), dtype)


def lower(function, *arguments: jax.Array) -> str:
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


def attention_loss(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.sin(attend(q, k, v).astype(jnp.float32)).sum()  # as in a model, its gradient differs by lane


def test_a_gpu_attends_forward_and_backward_by_cudnn(gpu: None) -> None:
    text = lower(jax.grad(attention_loss, (0, 1, 2)), heads(8), heads(2), heads(2))
    assert "cudnn$fmhaSoftmax" in text
    assert "cudnn$fmhaSoftmaxBackward" in text


@pytest.mark.parametrize("axes", [(0, 0, 0), (0, None, None), (None, None, 0)])
def test_lanes_attend_by_cudnn_too(gpu: None, axes: tuple[int | None, ...]) -> None:
    arrays = [heads(n, lanes=3 if axis == 0 else 0) for n, axis in zip((8, 2, 2), axes, strict=True)]
    text = lower(jax.vmap(jax.grad(attention_loss, (0, 1, 2)), in_axes=axes), *arrays)
    assert "cudnn$fmhaSoftmaxBackward" in text
    assert "tensor<6x128x8x64xbf16>" in text, "three lanes of two rows are not one call of six"


@pytest.mark.parametrize(
    ("q", "k", "capability"),
    [
        (heads(4, "float32"), heads(4, "float32"), (9, 0)),
        (heads(4, width=36), heads(4, width=36), (9, 0)),
        (heads(4, width=160), heads(4, width=160), (8, 0)),
        (heads(4), heads(4), (7, 5)),
        (heads(4), heads(4, T=130), (9, 0)),
        (heads(4), heads(4), None),
    ],
    ids=["float32", "width 36", "wide on Ampere", "Turing", "more keys", "not NVIDIA"],
)
def test_what_cudnn_cannot_do_is_not_asked_of_it(
    q: jax.Array, k: jax.Array, capability: tuple[int, int] | None
) -> None:
    with compiling_for(Target("gpu", "any", capability=capability)):
        assert not has_fused_kernel(q, k)
    with compiling_for(HOPPER):
        assert has_fused_kernel(heads(4), heads(4))


def test_a_mask_is_not_given_to_cudnn(gpu: None) -> None:
    visible_BTT = jnp.ones((2, 128, 128), bool)
    text = lower(lambda q, k, v: attend(q, k, v, visible_BTT=visible_BTT), heads(8), heads(2), heads(2))
    assert "cudnn" not in text
