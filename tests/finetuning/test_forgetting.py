"""Forgetting: the loss of the base's own text, after less before, paired by window."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.finetuning.evaluate import evaluate_split
from lora_jax.finetuning.forgetting import SourceText, forget, prepare_source
from lora_jax.finetuning.prepare import Prepared
from lora_jax.model.transformer import Inputs, forward
from lora_jax.peft.method import MethodConfig, adapt
from lora_jax.peft.methods.adapters import AdapterH
from lora_jax.peft.methods.ia3 import IA3
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full, NormTuning, TopLayers

from .conftest import FILLERS

STARTS_AT_BASE = (Full(), TopLayers(layers=1), NormTuning(), LoRA(rank=2), AdapterH(rank=2), IA3())


@pytest.fixture(scope="module")
def source(generate: Prepared, tmp_path_factory: pytest.TempPathFactory) -> SourceText:
    folder = tmp_path_factory.mktemp("known")
    for i in range(20):
        words = [FILLERS[(i + i * k + k * k) % len(FILLERS)] for k in range(30)]
        (folder / f"{i}.txt").write_text(" ".join(words))
    data = DataConfig(
        sources=(SourceConfig(name=f"files:{folder}/*.txt"),),
        seq_len=12,
        heldout_fraction=0.3,
        heldout_tokens=12 * 30,
    )
    return prepare_source(generate, data, lambda _: None)


def test_before_is_the_base_s_next_token_loss(source: SourceText, generate: Prepared) -> None:
    """By a forward pass and a log-softmax: the targets are the tokens one further on."""
    tokens_WT = jnp.array(source.windows.tokens)
    inputs_WT = tokens_WT[:, :-1]
    inputs = Inputs(inputs_WT)
    logits = jax.nn.log_softmax(forward(generate.model, generate.base, inputs), -1)
    losses = -jnp.take_along_axis(logits, tokens_WT[:, 1:, None], -1)[..., 0].mean(-1)
    np.testing.assert_allclose(source.before_W, losses, rtol=2e-6)


@pytest.mark.parametrize("method", STARTS_AT_BASE, ids=lambda m: type(m).__name__)
def test_a_method_that_starts_at_the_base_has_forgotten_nothing_to_the_bit(
    method: MethodConfig, source: SourceText, generate: Prepared
) -> None:
    adapted = adapt(generate.base, method.build(generate.model), seed=3)
    after_W = np.array(evaluate_split(generate, method, adapted, source.windows).values)
    np.testing.assert_array_equal(after_W, source.before_W)
    found = forget(source, after_W)
    assert found.change["value"] == 0
    assert found.change["se"] == 0


def test_change_is_paired_by_window_and_its_error_clusters_by_document(source: SourceText) -> None:
    rng = np.random.default_rng(0)
    after_W = source.before_W + 0.1 + 0.01 * rng.standard_normal(len(source.before_W))
    found = forget(source, after_W)
    change_W = after_W - source.before_W
    assert found.change["value"] == pytest.approx(change_W.mean())
    # sums of the residuals by cluster (Liang & Zeger 1986)
    names = np.unique(source.documents_W)
    sums = np.array([(change_W - change_W.mean())[source.documents_W == name].sum() for name in names])
    g = len(names)
    assert found.change["se"] == pytest.approx(np.sqrt(g / (g - 1) * (sums**2).sum()) / len(change_W))
    low, high = found.change["ci95"]
    assert low < 0.1 < high
    assert found.change["se"] < np.std(source.before_W) / np.sqrt(len(after_W))  # pairing pays
