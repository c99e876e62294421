"""Which kernel attends where, as far as it can be seen without an accelerator; that lanes may ask cuDNN."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn import fused_attention_stablehlo as cudnn

from lora_jax.model.attention import Visible, attend
from lora_jax.model.attention_kernel import Heads, choose_kernel
from lora_jax.model.compiled_for import compiling_for
from lora_jax.target import Target, parse_target

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


BF16, F32 = jnp.dtype("bfloat16"), jnp.dtype("float32")
A100, H100, V5E = parse_target("a100-80gb"), parse_target("h100"), parse_target("v5e:2x2")
OLD, OTHER = Target("gpu", "any", capability=(7, 5)), Target("gpu", "any")


@pytest.mark.parametrize(
    ("target", "heads", "kernel", "reason"),
    [
        (H100, Heads(128, 128, 64, BF16), "cudnn", ""),
        (H100, Heads(128, 128, 256, BF16), "cudnn", ""),
        (A100, Heads(128, 128, 128, BF16), "cudnn", ""),
        (A100, Heads(128, 128, 160, BF16), None, "the head width 160 is not a multiple of 8 of at most 128"),
        (H100, Heads(128, 128, 36, BF16), None, "the head width 36"),
        (H100, Heads(128, 128, 264, BF16), None, "at most 256"),
        (H100, Heads(128, 128, 64, F32), None, "the numbers are float32"),
        (A100, Heads(200, 200, 80, BF16, "segments"), "triton", ""),
        (H100, Heads(128, 128, 8, BF16, "segments"), None, "is not between 16 and 128"),
        (H100, Heads(48, 48, 64, BF16, "segments"), None, "48 positions are less than a block"),
        (H100, Heads(128, 128, 256, BF16, "segments"), None, "in packed segments the head width 256"),
        (H100, Heads(128, 130, 64, BF16), None, "more keys than queries"),
        (H100, Heads(128, 128, 64, BF16, "any"), None, "a prompt stands in front"),
        (H100, Heads(128, 128, 64, BF16, has_bias=True), None, "relative positions"),
        (OLD, Heads(128, 128, 64, BF16), None, "7.5 is before Ampere's"),
        (OTHER, Heads(128, 128, 64, BF16), None, "for NVIDIA GPUs"),
        (V5E, Heads(128, 128, 64, BF16), "splash", ""),
        (V5E, Heads(200, 200, 80, F32, "segments"), "splash", ""),
        (V5E, Heads(127, 127, 64, BF16), None, "with 127 positions"),
        (V5E, Heads(128, 133, 64, BF16), None, "more keys than queries"),
        (V5E, Heads(128, 128, 512, BF16), None, "the head width 512 is over 256"),
        (V5E, Heads(128, 128, 64, jnp.dtype("float16")), None, "the numbers are float16"),
        (V5E, Heads(128, 128, 64, BF16, "any"), None, "a prompt stands in front"),
        (V5E, Heads(128, 128, 64, BF16, has_bias=True), None, "relative positions"),
    ],
)
def test_one_rule_says_which_kernel_attends_and_why_none(
    target: Target, heads: Heads, kernel: str | None, reason: str
) -> None:
    found = choose_kernel(target, heads)
    assert found.kernel == kernel
    assert reason in found.reason
    assert bool(found.reason) == (kernel is None)


@pytest.mark.parametrize("has_prompt", [False, True])
def test_a_mask_is_not_given_to_cudnn(gpu: None, has_prompt: bool) -> None:
    """Segments are read by a kernel of JAX's; what a prompt in front makes of them, by none."""
    pairs, segments = jnp.ones((2, 128, 128), bool), jnp.ones((2, 128), jnp.int32)
    visible = Visible(pairs, None if has_prompt else segments)
    traced = jax.make_jaxpr(lambda q, k, v: attend(q, k, v, visible=visible))(heads(8), heads(2), heads(2))
    assert "cudnn" not in str(traced)
    assert ("pallas_call" in str(traced)) == (not has_prompt)
