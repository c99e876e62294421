"""Kernels of JAX's, run as plain operations, beside JAX's own attention: values, gradients, lanes, a mesh."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.model.splash_attention import attend_by_splash
from lora_jax.model.triton_attention import attend_by_triton
from tests.compilation import with_devices

B = 2
# T positions, H heads, J key/value heads, K head width, causal, with segments
CASES = {
    "causal": (256, 2, 2, 64, True, False),
    "grouped queries in segments": (256, 4, 2, 32, True, True),
    "a length that no block divides": (200, 2, 1, 16, True, False),
    "segments, and such a length": (200, 4, 2, 16, True, True),
    "an encoder of such a length": (130, 2, 2, 16, False, False),
    "an encoder with padding": (130, 2, 1, 16, False, True),
}


def draw(T: int, H: int, J: int, K: int) -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(0), 4)
    return [jax.random.normal(key, (B, T, n, K)) for key, n in zip(keys, (H, J, J, H), strict=True)]


def segment(T: int) -> jax.Array:
    """Two rows of packed examples whose ends are no multiples of a block; the first has padding."""
    ends = np.array([[T // 3, T // 2, T - 21], [T // 5, T // 4, T // 2]])
    found = 1 + (np.arange(T)[None, None] >= ends[:, :, None]).sum(1)
    found[0, T - 21 :] = 0
    return jnp.asarray(found, jnp.int32)


def attend_plainly(causal: bool, segments_BT: jax.Array | None) -> Callable[..., jax.Array]:
    def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        T = q.shape[1]
        mask_BTT = jnp.tril(jnp.ones((1, T, T), bool)) if causal else jnp.ones((1, T, T), bool)
        if segments_BT is not None:
            mask_BTT = mask_BTT & (segments_BT[:, :, None] == segments_BT[:, None])
        return jax.nn.dot_product_attention(q, k, v, mask=mask_BTT[:, None], implementation="xla")

    return attend


def pull(function: Any, q: jax.Array, k: jax.Array, v: jax.Array, g: jax.Array) -> Any:
    out, back = jax.vjp(function, q, k, v)
    return out, *back(g)


def assert_same(found: Any, wanted: Any) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("T", [128, 200])
@pytest.mark.parametrize("causal", [True, False])
def test_the_kernel_of_gpus_attends_in_segments_as_plain_attention_does(T: int, causal: bool) -> None:
    arrays, segments_BT = draw(T, 4, 2, 32), segment(T)

    def fused(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return attend_by_triton(q, k, v, causal, segments_BT, interpret=True)

    found, wanted = (
        jax.jit(pull, static_argnums=0)(one, *arrays) for one in (fused, attend_plainly(causal, segments_BT))
    )
    assert_same(found, wanted)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_value_and_gradient_are_those_of_plain_attention(case: tuple[int, int, int, int, bool, bool]) -> None:
    T, H, J, K, causal, has_segments = case
    arrays = draw(T, H, J, K)
    segments_BT = segment(T) if has_segments else None

    def fused(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return attend_by_splash(q, k, v, causal, segments_BT, interpret=True)

    found, wanted = (
        jax.jit(pull, static_argnums=0)(one, *arrays) for one in (fused, attend_plainly(causal, segments_BT))
    )
    assert_same(found, wanted)


def test_lanes_attend_as_each_alone() -> None:
    arrays = draw(130, 2, 1, 16)
    segments_LBT = jnp.stack([segment(130), segment(130)[::-1]])
    lanes = [jnp.stack([array, 2 * array]) for array in arrays]

    def of_lane(segments_BT: jax.Array, *heads: jax.Array) -> Any:
        return pull(lambda q, k, v: attend_by_splash(q, k, v, True, segments_BT, interpret=True), *heads)

    together = jax.jit(jax.vmap(of_lane))(segments_LBT, *lanes)
    alone = [jax.jit(of_lane)(segments_LBT[i], *(lane[i] for lane in lanes)) for i in range(2)]
    for i, wanted in enumerate(alone):
        assert_same([array[i] for array in together], wanted)


def attend_on_mesh() -> None:
    """Print how far a mesh's attention and its gradient are from plain attention; for 8 devices."""
    from jax.sharding import AxisType

    from lora_jax.training.mesh import MESH_AXES

    mesh = jax.make_mesh((2, 2, 2), MESH_AXES, (AxisType.Auto,) * 3)
    segments_BT = jnp.tile(segment(130), (2, 1))
    arrays = [jnp.tile(array, (2, 1, 1, 1)) for array in draw(130, 4, 2, 16)]

    def on_mesh(*heads: jax.Array) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return pull(lambda q, k, v: attend_by_splash(q, k, v, True, segments_BT, interpret=True), *heads)

    placed = jax.device_put(arrays, jax.NamedSharding(mesh, jax.P("data")))
    found, wanted = jax.jit(on_mesh)(*placed), pull(attend_plainly(True, segments_BT), *arrays)
    far = [float(jnp.abs(ours - theirs).max()) for ours, theirs in zip(found, wanted, strict=True)]
    print(json.dumps({"far": far, "sharding": str(found[0].sharding.spec)}))


@pytest.mark.slow  # a process of 8 devices
def test_on_a_mesh_each_device_attends_to_its_rows_and_heads() -> None:
    environment = with_devices(8) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert max(told["far"]) < 1e-5
    assert "data" in told["sharding"]
    assert "tensor" in told["sharding"]


if __name__ == "__main__":
    attend_on_mesh()
