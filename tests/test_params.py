"""Laws of parameter trees."""

import zlib
from typing import Any

import jax
import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.params import Spec, combine, count, init, partition

SMALL: dict[str, Any] = {"d_model": 8, "n_layers": 2, "n_heads": 2, "vocab_size": 11, "context": 6}
CONFIGS = [ModelConfig(**SMALL), ModelConfig(**SMALL, n_kv_heads=1, tied_head=False, **LLAMA)]


@pytest.mark.parametrize("config", CONFIGS)
def test_combine_undoes_partition(config: ModelConfig) -> None:
    params = init(declare(config), seed=0)
    for choose in (lambda path: "attn" in path, lambda path: True, lambda path: False):
        trainable, frozen = partition(params, choose)
        assert all(choose(path) for path in trainable)
        assert not any(choose(path) for path in frozen)
        again = combine(trainable, frozen)
        assert again.keys() == params.keys()
        assert all(again[path] is params[path] for path in params)


def test_combine_refuses_a_shared_path() -> None:
    with pytest.raises(LoraJaxError, match="share no path"):
        combine({"a": jax.numpy.ones(1)}, {"a": jax.numpy.ones(1)})


@pytest.mark.parametrize("config", CONFIGS)
def test_counts_are_array_sizes(config: ModelConfig) -> None:
    specs = declare(config)
    params = init(specs, seed=0)
    assert {path: spec.shape for path, spec in specs.items()} == {p: w.shape for p, w in params.items()}
    assert count(specs) == sum(w.size for w in params.values())


def test_a_weight_depends_on_its_path_and_seed_alone() -> None:
    specs = {"a": Spec((("x", 50),), std=1.0), "b": Spec((("x", 50),), std=1.0)}
    both, alone, other = init(specs, 3), init({"b": specs["b"]}, 3), init(specs, 4)
    np.testing.assert_array_equal(both["b"], alone["b"])
    assert not np.allclose(both["a"], both["b"])
    assert not np.allclose(both["a"], other["a"])


def test_init_has_the_declared_spread() -> None:
    drawn = init({"w": Spec((("x", 200), ("y", 200)), ("x",), std=0.5, mean=2.0)}, 0)["w"]
    assert abs(float(drawn.mean()) - 2.0) < 0.02
    assert abs(float(drawn.std()) - 0.5) < 0.02


@pytest.mark.bits
@pytest.mark.parametrize("noise", ["normal", "uniform"])
@pytest.mark.parametrize("shape", [(3, 5), (4096,), (17, 241), (2, 32, 64), (256, 256), (257, 256)])
def test_a_weight_is_jaxs_draw_of_its_shape(shape: tuple[int, ...], noise: Any) -> None:
    """A small one is cut out of a longer row, which has the same numbers in its places."""
    spec = Spec(tuple((str(i), n) for i, n in enumerate(shape)), std=0.3, mean=-0.5, noise=noise)
    key = jax.random.fold_in(jax.random.key(7), zlib.crc32(b"a/w"))
    ends: Any = dict(minval=-(3**0.5), maxval=3**0.5)
    drawn = jax.random.uniform(key, shape, **ends) if noise == "uniform" else jax.random.normal(key, shape)
    weight = init({"a/w": spec}, 7)["a/w"]
    assert weight.dtype == drawn.dtype
    np.testing.assert_array_equal(weight, -0.5 + 0.3 * drawn)
    np.testing.assert_allclose(jax.jit(lambda: init({"a/w": spec}, 7))()["a/w"], weight, atol=1e-6)
