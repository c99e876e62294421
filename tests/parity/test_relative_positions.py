"""T5's relative positions beside transformers' own."""

import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import ModelConfig
from lora_jax.model.relative import find_buckets, score_buckets

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("causal", [True, False])
def test_buckets_are_those_of_transformers(causal: bool) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    ahead = torch.arange(-2000, 2001)  # key minus query
    theirs = T5Attention._relative_position_bucket(ahead, bidirectional=not causal)
    ours = find_buckets(-jnp.asarray(ahead.numpy()), causal)
    np.testing.assert_array_equal(ours, theirs.numpy())


@pytest.mark.parametrize("causal", [True, False])
def test_the_bias_is_that_of_transformers(causal: bool) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    t5 = transformers.T5Config(d_model=16, num_heads=4, d_kv=4, is_decoder=causal)
    attention = T5Attention(t5, has_relative_attention_bias=True, layer_idx=0)
    with torch.no_grad():
        theirs_1HTS = attention.compute_bias(9, 200).numpy()
    config = ModelConfig(
        d_model=16,
        n_layers=1,
        n_heads=4,
        vocab_size=8,
        context=200,
        positions="t5",
        causal=causal,
        tied_head=causal,
    )
    bias_NH = jnp.asarray(attention.relative_attention_bias.weight.detach().numpy())
    ours_1HTS = score_buckets(config, bias_NH, jnp.arange(9), jnp.arange(200))
    np.testing.assert_array_equal(ours_1HTS, theirs_1HTS)
