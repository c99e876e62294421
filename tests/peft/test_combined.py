"""Several methods at once: their sum where they are independent, a refusal where they are not."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import BERT, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.model.transformer import forward
from lora_jax.params import Params, combine, count
from lora_jax.peft.method import Method, MethodConfig, adapt
from lora_jax.peft.methods import method_from_dict, method_to_dict
from lora_jax.peft.methods.adapters import AdapterH, ParallelAdapter
from lora_jax.peft.methods.combined import Combined, mam
from lora_jax.peft.methods.ia3 import IA3
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.prompt import Prompt
from lora_jax.peft.methods.subset import BitFit, NormTuning

SIZES: dict[str, Any] = dict(
    d_model=16, n_layers=2, n_heads=4, vocab_size=40, context=20, compute_dtype="float32"
)
GPT2 = ModelConfig(**SIZES)
UNTIED = ModelConfig(**SIZES, tied_head=False)
BERT_LIKE = ModelConfig(**SIZES, **BERT, n_classes=3)
TOKENS = jnp.asarray(np.random.default_rng(0).integers(40, size=(2, 8)))
run = jax.jit(forward, static_argnums=(0, 3))


def shake(params: Params, size: float, seed: int = 1) -> Params:
    rng = np.random.default_rng(seed)
    return {p: w + size * jnp.asarray(rng.normal(size=w.shape), jnp.float32) for p, w in params.items()}


def random_base(model: ModelConfig) -> Params:
    """Return weights of which none is trivially 0 or 1, biases and norms included; NumPy compiles nothing."""
    draw = np.random.default_rng(0).standard_normal
    return {
        path: jnp.asarray(spec.mean + max(spec.std, 0.2) * draw(spec.shape), jnp.float32)
        for path, spec in declare(model).items()
    }


def trained(model: ModelConfig, config: MethodConfig) -> tuple[Params, Method]:
    """Return weights as they may be after training, and the method."""
    method = config.build(model)
    trainable, frozen = adapt(random_base(model), method, seed=3)
    return combine(shake(trainable, 0.3), frozen), method


def test_mam_is_a_prefix_and_a_parallel_adapter() -> None:
    """With the adapter at rest it is the prefix, and what they add and train is the union."""
    model = BERT_LIKE
    params, method = trained(model, mam(length=3, rank=4))
    adapter, prefix = ParallelAdapter(rank=4).build(model), Prefix(length=3).build(model)
    assert method.trainable == adapter.trainable | prefix.trainable
    assert method.merge is None
    assert count(method.specs) + count(declare(model)) == count(adapter.specs) + count(prefix.specs)
    at_rest = {p: jnp.zeros_like(w) if "adapter/up" in p else w for p, w in params.items()}
    expected = run(model, {p: params[p] for p in prefix.specs}, TOKENS, prefix.hooks)
    np.testing.assert_allclose(run(model, at_rest, TOKENS, method.hooks), expected, rtol=0, atol=1e-5)
    assert np.abs(run(model, params, TOKENS, method.hooks) - expected).max() > 1e-2


def test_a_combination_of_methods_that_start_as_the_base_starts_as_the_base() -> None:
    method = Combined(methods=(LoRA(), AdapterH(rank=3), IA3(), BitFit())).build(GPT2)
    base = random_base(GPT2)
    trainable, frozen = adapt(base, method, seed=3)
    logits = run(GPT2, combine(trainable, frozen), TOKENS, method.hooks)
    np.testing.assert_allclose(logits, run(GPT2, base, TOKENS), rtol=0, atol=2e-6)  # fused otherwise
    # Drawn by path: as each method alone draws it.
    alone, _ = adapt(base, AdapterH(rank=3).build(GPT2), seed=3)
    assert all(np.array_equal(trainable[path], weight) for path, weight in alone.items())
    assert trainable.keys() & base.keys() == {p for p in base if p.endswith(("_bias", "/bias"))}


@pytest.mark.parametrize(
    "methods",
    [
        (LoRA(targets=("k", "v", "down")), IA3()),
        (NormTuning(), IA3(), LoRA(targets=("k", "v", "down"))),
    ],
)
def test_a_combination_merges_in_its_order(methods: tuple[MethodConfig, ...]) -> None:
    params, method = trained(GPT2, Combined(methods=methods))
    assert method.merge is not None
    merged = method.merge(params)
    assert merged.keys() == declare(GPT2).keys()
    logits = run(GPT2, params, TOKENS, method.hooks)
    np.testing.assert_allclose(run(GPT2, merged, TOKENS), logits, rtol=1e-5, atol=1e-5)


def test_two_loras_on_different_targets_are_one_on_both() -> None:
    params, one = trained(GPT2, LoRA(targets=("q", "v"), rate_ratio=4.0))
    parts = (LoRA(targets=("q",), rate_ratio=4.0), LoRA(targets=("v",), rate_ratio=4.0))
    two = Combined(methods=parts).build(GPT2)
    assert (two.specs, two.trainable, two.rates) == (one.specs, one.trainable, one.rates)
    expected = run(GPT2, params, TOKENS, one.hooks)
    np.testing.assert_array_equal(run(GPT2, params, TOKENS, two.hooks), expected)


@dataclass(frozen=True)
class Moving:
    """A method that changes a base weight at the start and keeps what it took, as PiSSA does."""

    name: str
    factor: float

    def build(self, model: ModelConfig) -> Method:
        base = declare(model)
        specs = base | {self.name: base["blocks/attn/q"]}

        def start(base: Params, seed: int) -> tuple[Params, Params]:
            q = base["blocks/attn/q"]
            return base | {"blocks/attn/q": self.factor * q + 1}, {self.name: q}

        return Method(specs, frozenset([self.name]), start=start)


def test_starts_are_chained() -> None:
    method = Combined(methods=(Moving("blocks/one", 2.0), IA3(), Moving("blocks/two", 3.0))).build(GPT2)
    base = random_base(GPT2)
    trainable, frozen = adapt(base, method, seed=3)
    q = base["blocks/attn/q"]
    np.testing.assert_array_equal(trainable["blocks/one"], q)
    np.testing.assert_array_equal(trainable["blocks/two"], 2.0 * q + 1)
    np.testing.assert_array_equal(frozen["blocks/attn/q"], 3.0 * (2.0 * q + 1) + 1)
    assert {*trainable, *frozen} == set(method.specs)


def test_prompt_and_prefix_stand_in_front_of_each_other() -> None:
    method = Combined(methods=(Prompt(length=2), Prefix(length=3))).build(GPT2)
    assert method.hooks.n_before == 5
    params, _ = trained(GPT2, Combined(methods=(Prompt(length=2), Prefix(length=3))))
    logits = run(GPT2, params, TOKENS, method.hooks)
    assert logits.shape == (2, 8, 40)
    changed = run(GPT2, params, TOKENS.at[:, 4].add(1) % 40, method.hooks)
    assert not np.abs(changed - logits).max(-1)[:, :4].any()


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ((), "Combined.methods is empty"),
        ((LoRA(), LoRA(rank=2)), "LoRA and LoRA both add blocks/attn/q_lora_a"),
        ((LoRA(), IA3(), AdapterH(top_layers=1)), "LoRA is for the top 0 blocks and AdapterH for the top 1"),
        ((Prompt(length=2), LoRA(targets=("embedding",))), "Prompt puts embeddings .* put LoRA first"),
    ],
)
def test_what_does_not_fit_together_is_refused(methods: tuple[MethodConfig, ...], message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        Combined(methods=methods).build(UNTIED)


def test_a_combination_is_its_own_fields() -> None:
    config = Combined(methods=(mam(length=3, rank=4), LoRA(targets=("q",), ranks=(("q", 2),))))
    assert method_from_dict(method_to_dict(config)) == config
