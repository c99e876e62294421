"""The battery that every method passes: a method without an instance here fails the first test."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.transformer import forward
from lora_jax.params import Params, combine, count
from lora_jax.peft.merge import merge, unmerge
from lora_jax.peft.method import Adapted, Method, MethodConfig, adapt, task_head
from lora_jax.peft.methods import find_methods, method_from_dict, method_to_dict
from lora_jax.peft.methods.adapters import AdapterH, AdapterL, ParallelAdapter
from lora_jax.peft.methods.combined import Combined
from lora_jax.peft.methods.dora import DoRA
from lora_jax.peft.methods.ia3 import IA3
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.pissa import PiSSA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.prompt import Prompt
from lora_jax.peft.methods.subset import BitFit, Full, NormTuning, TopLayers
from lora_jax.peft.methods.vera import VeRA


class Law(NamedTuple):
    """start: how far the first output may be from the base's: 0 for the same bits, None for any."""

    config: MethodConfig
    start: float | None = 0.0
    merges: bool = True


LAWS = [
    Law(Full()),
    Law(TopLayers(layers=1)),
    Law(TopLayers(layers=2, after=True)),
    Law(BitFit()),
    Law(NormTuning()),
    Law(LoRA(rank=3, targets=("all",), ranks=(("q", 2),), alphas=(("down", 5.0),))),
    Law(LoRA(rank=2, top_layers=1, init="uniform", rslora=True, dropout=0.1, rate_ratio=4.0)),
    Law(DoRA(rank=3, targets=("all",)), start=1e-5),
    Law(PiSSA(rank=3, targets=("attention",)), start=1e-5),
    Law(VeRA(rank=5, targets=("q", "v", "down"))),
    Law(IA3()),
    Law(AdapterH(rank=3), merges=False),
    Law(AdapterL(rank=3), merges=False),
    Law(ParallelAdapter(rank=3), merges=False),
    Law(Prefix(length=2), start=None, merges=False),
    Law(Prompt(length=2), start=None, merges=False),
    Law(Combined(methods=(LoRA(rank=2, targets=("o",)), IA3()))),
    Law(Combined(methods=(Prefix(length=2), ParallelAdapter(rank=2))), start=None, merges=False),
]
NAMES = [f"{number}-{type(law.config).__name__}" for number, law in enumerate(LAWS)]
every_method = pytest.mark.parametrize("law", LAWS, ids=NAMES)
Move = Callable[..., Adapted]


@cache
def build(config: MethodConfig, model: ModelConfig) -> Method:
    """Hooks are compiled for by identity, so that the laws share one compilation."""
    return config.build(model)


def test_every_method_has_an_instance_here() -> None:
    assert set(find_methods()) == {type(law.config).__name__ for law in LAWS}


@every_method
def test_the_config_is_json(law: Law) -> None:
    assert method_from_dict(json.loads(json.dumps(method_to_dict(law.config)))) == law.config


@every_method
@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_the_specs_are_what_there_is(
    law: Law, name: str, models: dict[str, ModelConfig], bases: dict[str, Params]
) -> None:
    method = law.config.build(models[name])
    trainable, frozen = jax.eval_shape(lambda base: adapt(base, method, seed=0), bases[name])
    assert trainable.keys() == method.trainable, "what trains is declared"
    assert not trainable.keys() & frozen.keys()
    assert {p: w.shape for p, w in combine(trainable, frozen).items()} == {
        p: s.shape for p, s in method.specs.items()
    }
    assert all(weight.dtype == jnp.float32 for weight in trainable.values())
    assert task_head(method.specs) <= method.trainable
    assert set(method.rates) <= method.trainable
    inner = {path for path in method.specs if any(other.startswith(f"{path}/") for other in method.specs)}
    assert not inner, "no weight's path is a folder of another's"


@every_method
def test_the_first_output_is_the_base(
    law: Law, models: dict[str, ModelConfig], bases: dict[str, Params], tokens_BT: jax.Array, run_plainly: Any
) -> None:
    model, base = models["gpt2"], bases["gpt2"]
    method = build(law.config, model)
    trainable, frozen = adapt(base, method, seed=0)
    start = np.asarray(run_plainly(model, combine(trainable, frozen), tokens_BT, method.hooks))
    wanted = np.asarray(run_plainly(model, base, tokens_BT))
    if law.start == 0.0:
        np.testing.assert_array_equal(start, wanted)
    elif law.start is not None:
        np.testing.assert_allclose(start, wanted, atol=law.start)
    else:
        assert np.abs(start - wanted).max() > 1e-5


@pytest.mark.slow
@every_method
def test_what_trains_reaches_the_output(
    law: Law, models: dict[str, ModelConfig], bases: dict[str, Params], tokens_BT: jax.Array, moved: Move
) -> None:
    """And the gradient has what trains, in its shapes, and nothing else."""
    model = models["gpt2"]
    method = law.config.build(model)
    trainable, frozen = moved(model, bases["gpt2"], law.config)

    @jax.jit
    @jax.grad
    def gradient(trainable: Params) -> jax.Array:
        logits = forward(model, combine(trainable, frozen), tokens_BT, method.hooks)
        return jnp.square(jax.nn.log_softmax(logits)).sum()

    found = gradient(trainable)
    assert {p: g.shape for p, g in found.items()} == {p: method.specs[p].shape for p in method.trainable}
    dead = [path for path, g in found.items() if not float(jnp.abs(g).max()) > 1e-4]
    # a softmax does not see what is added to all keys
    assert [path for path in dead if not path.endswith("attn/k_bias")] == []


@every_method
def test_a_merged_model_is_the_adapted_one(
    law: Law,
    models: dict[str, ModelConfig],
    bases: dict[str, Params],
    tokens_BT: jax.Array,
    moved: Move,
    run_plainly: Any,
) -> None:
    model, base = models["gpt2"], bases["gpt2"]
    adapted = moved(model, base, law.config)
    if not law.merges:
        with pytest.raises(LoraJaxError, match=f"{type(law.config).__name__} .*cannot be merged"):
            merge(model, base, adapted, law.config)
        return
    merged = merge(model, base, adapted, law.config)
    assert {p: (w.shape, w.dtype) for p, w in merged.params.items()} == {
        p: (w.shape, w.dtype) for p, w in base.items()
    }
    hooks = build(law.config, model).hooks
    wanted = np.asarray(run_plainly(model, combine(*adapted), tokens_BT, hooks))
    got = np.asarray(run_plainly(model, merged.params, tokens_BT))
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert np.abs(got - np.asarray(run_plainly(model, base, tokens_BT))).max() > 1e-3, (
        "the adapter does something"
    )
    back = unmerge(merged)
    assert all(np.asarray(back[p]).tobytes() == np.asarray(base[p]).tobytes() for p in base)


def test_counts_from_shapes_alone() -> None:
    """Integers of the papers: ../shared/facts/peft.md; Hu et al. 2021, tables 2 and 4."""
    medium = ModelConfig(d_model=1024, n_layers=24, n_heads=16, vocab_size=50257, context=1024)
    gpt3 = ModelConfig(d_model=12288, n_layers=96, n_heads=96, vocab_size=50257, context=2048)

    def trained(model: ModelConfig, config: MethodConfig) -> int:
        method = config.build(model)
        return count({path: method.specs[path] for path in method.trainable})

    assert trained(medium, LoRA(rank=4)) == 393_216
    assert trained(medium, TopLayers(layers=2)) == 25_192_448
    assert trained(gpt3, LoRA(rank=1)) == 4_718_592
    assert trained(gpt3, LoRA(rank=8)) == 37_748_736
    # DoRA: one magnitude an output more; VeRA: rank + outputs a target (its paper, equation 5)
    assert trained(gpt3, DoRA(rank=8)) == 37_748_736 + 2 * 96 * 12288
    assert trained(medium, VeRA(rank=256)) == 2 * 24 * (256 + 1024)
