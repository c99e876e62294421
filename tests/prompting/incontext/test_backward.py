"""The cost of a gradient over a forward pass, on a tiny model: what is timed, and what XLA says of memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.model.declare import declare
from lora_jax.model.transformer import forward
from lora_jax.params import Params, combine, init
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full, TopLayers
from lora_jax.prompting.incontext.backward import compile_both, draw_batch, measure_backward, read_memory

MODEL = ModelConfig(d_model=32, n_layers=3, n_heads=2, vocab_size=64, context=32, **LLAMA)
METHODS = {"full": Full(), "LoRA": LoRA(rank=2, targets=("all",)), "top-1": TopLayers(layers=1)}
B, T = 4, 16


@pytest.fixture(scope="module")
def base() -> Params:
    return init(declare(MODEL), 0)


@pytest.mark.slow
def test_the_programs_are_the_loss_and_its_gradient_by_what_trains(base: Params) -> None:
    batch = draw_batch(MODEL, B, T)
    programs = compile_both(MODEL, base, METHODS["full"], batch)
    loss, gradient = programs.gradient(*programs.adapted, batch)

    def by_hand(trainable: Params) -> jax.Array:
        logits_BTV = forward(MODEL, combine(trainable, programs.adapted.frozen), jnp.asarray(batch.tokens_BT))
        logprobs_BTV = jax.nn.log_softmax(logits_BTV)
        return -jnp.take_along_axis(logprobs_BTV, jnp.asarray(batch.targets_BT)[..., None], -1).mean()

    expected, slopes = jax.value_and_grad(by_hand)(programs.adapted.trainable)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    assert float(programs.forward(*programs.adapted, batch)) == pytest.approx(float(expected), rel=1e-5)
    assert gradient.keys() == programs.adapted.trainable.keys()
    for path, slope in slopes.items():
        np.testing.assert_allclose(gradient[path], slope, atol=1e-5)


@pytest.mark.slow
def test_what_is_measured_adds_up(base: Params) -> None:
    said: list[str] = []
    found = measure_backward(MODEL, base, METHODS, B, T, 3, said.append)
    assert [m.label for m in found] == list(METHODS)
    assert said[-1] == "backward: 7 programs in turns, 3 rounds"
    for m in found:
        ratios = np.divide(m.gradient_seconds, m.forward_seconds)
        assert m.time_ratio.value == pytest.approx(np.exp(np.log(ratios).mean()))
        low, high = m.time_ratio.ci95
        assert 0 < low < m.time_ratio.value < high
        assert m.memory_ratio is not None
        assert m.memory_ratio > 1, "what the backward pass needs is kept"
    full, lora, top = found
    assert full.n_trainable > top.n_trainable > lora.n_trainable > 0
    # The gradient that comes out has the size of what trains; a frozen base is an argument all the same.
    held = [m.gradient_bytes for m in found if m.gradient_bytes is not None]
    assert len(held) == 3
    outputs = [one.outputs - 4 * m.n_trainable for one, m in zip(held, found, strict=True)]
    assert all(0 <= rest < 1024 for rest in outputs)
    assert held[2].temporary < held[1].temporary


def test_a_backend_that_tells_no_memory_is_taken_as_it_is() -> None:
    class Silent:
        def memory_analysis(self) -> None:
            return None

    assert read_memory(Silent()) is None
