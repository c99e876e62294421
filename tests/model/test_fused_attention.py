"""Attention on a GPU, as far as it can be seen without one: when cuDNN is asked, and that lanes may ask."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn import fused_attention_stablehlo as cudnn

from lora_jax.model.attention import attend
from lora_jax.model.fused_attention import has_fused_kernel

HOPPER = SimpleNamespace(
    platform="gpu", client=SimpleNamespace(platform_version="cuda 12080"), compute_capability="9.0"
)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Make JAX's own checks and ours see a Hopper GPU with cuDNN; programs can be lowered, not run."""
    device = SimpleNamespace(**vars(HOPPER))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(cudnn, "check_compute_capability", lambda capability: True)
    return device


def heads(n: int, dtype: str = "bfloat16", *, T: int = 128, width: int = 64, lanes: int = 0) -> jax.Array:
    return jnp.zeros(((lanes,) if lanes else ()) + (2, T, n, width), dtype)


def lower(function, *arguments: jax.Array) -> str:
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


def attention_loss(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.sin(attend(q, k, v).astype(jnp.float32)).sum()  # as in a model, its gradient differs by lane


def test_a_gpu_attends_forward_and_backward_by_cudnn(gpu: SimpleNamespace) -> None:
    text = lower(jax.grad(attention_loss, (0, 1, 2)), heads(8), heads(2), heads(2))
    assert "cudnn$fmhaSoftmax" in text
    assert "cudnn$fmhaSoftmaxBackward" in text


@pytest.mark.parametrize("axes", [(0, 0, 0), (0, None, None), (None, None, 0)])
def test_lanes_attend_by_cudnn_too(gpu: SimpleNamespace, axes: tuple[int | None, ...]) -> None:
    arrays = [heads(n, lanes=3 if axis == 0 else 0) for n, axis in zip((8, 2, 2), axes, strict=True)]
    text = lower(jax.vmap(jax.grad(attention_loss, (0, 1, 2)), in_axes=axes), *arrays)
    assert "cudnn$fmhaSoftmaxBackward" in text
    assert "tensor<6x128x8x64xbf16>" in text, "three lanes of two rows are not one call of six"


@pytest.mark.parametrize(
    ("q", "k", "capability", "version"),
    [
        (heads(4, "float32"), heads(4, "float32"), "9.0", "cuda 12080"),
        (heads(4, width=36), heads(4, width=36), "9.0", "cuda 12080"),
        (heads(4, width=160), heads(4, width=160), "8.0", "cuda 12080"),
        (heads(4), heads(4), "7.5", "cuda 12080"),
        (heads(4), heads(4, T=130), "9.0", "cuda 12080"),
        (heads(4), heads(4), "9.0", "rocm 60000"),
    ],
    ids=["float32", "width 36", "wide on Ampere", "Turing", "more keys", "not NVIDIA"],
)
def test_what_cudnn_cannot_do_is_not_asked_of_it(
    gpu: SimpleNamespace, q: jax.Array, k: jax.Array, capability: str, version: str
) -> None:
    gpu.compute_capability, gpu.client = capability, SimpleNamespace(platform_version=version)
    assert not has_fused_kernel(q, k)
    gpu.compute_capability, gpu.client = HOPPER.compute_capability, HOPPER.client
    assert has_fused_kernel(heads(4), heads(4))


def test_a_mask_is_not_given_to_cudnn(gpu: SimpleNamespace) -> None:
    visible_BTT = jnp.ones((2, 128, 128), bool)
    text = lower(lambda q, k, v: attend(q, k, v, visible_BTT=visible_BTT), heads(8), heads(2), heads(2))
    assert "cudnn" not in text
