"""What is said before step 1 is what trains; FLOPs equal the declared formula where it says them."""

import pytest

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.model.declare import declare, flops_per_token
from lora_jax.params import count
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full, TopLayers
from lora_jax.peft.summary import print_summary, summarise, training_flops_per_token

DEEP = ModelConfig(d_model=64, n_layers=12, n_heads=2, vocab_size=100, context=128, **LLAMA)  # a loop


@pytest.mark.parametrize("n_layers", [2, 12])
def test_full_fine_tuning_costs_what_training_does(n_layers: int) -> None:
    model = ModelConfig(
        d_model=32, n_layers=n_layers, n_heads=2, vocab_size=50, context=16, tied_head=False, **LLAMA
    )
    assert training_flops_per_token(model, Full().build(model), 16) == flops_per_token(model, 16)


def test_shares_of_full_fine_tuning() -> None:
    full = training_flops_per_token(DEEP, Full().build(DEEP), 128)
    for layers in (1, 3):
        top = training_flops_per_token(DEEP, TopLayers(layers=layers).build(DEEP), 128)
        assert top / full == pytest.approx((12 + 2 * layers) / (3 * 12), rel=0.05)
    lora = training_flops_per_token(DEEP, LoRA(rank=1).build(DEEP), 128)
    assert 2 / 3 < lora / full < 0.76  # attention scores, whose backward is paid in full, are many at d 64
    assert training_flops_per_token(DEEP, LoRA(rank=8).build(DEEP), 128) > lora
    assert training_flops_per_token(DEEP, LoRA(rank=1, top_layers=2).build(DEEP), 127.5) < 0.7 * lora


def test_the_table_says_what_trains(capsys: pytest.CaptureFixture[str]) -> None:
    method = LoRA(rank=4, targets=("q",)).build(DEEP)
    summary = summarise(DEEP, method, 128)
    assert [(row.path, row.shape, row.rank, row.n_params) for row in summary.rows] == [
        ("blocks/attn/q_lora_a", (12, 64, 4), 4, 3072),
        ("blocks/attn/q_lora_b", (12, 4, 2, 32), 4, 3072),
    ]
    assert (summary.n_trainable, summary.optimizer_bytes) == (6144, 8 * 6144)
    assert summary.n_base == count(declare(DEEP))
    assert summary.rows[0].share == 3072 / summary.n_base
    print_summary(summary)
    said = capsys.readouterr().out.replace("\n", " ")
    ratio = summary.flops_per_token / summary.full_flops_per_token
    for part in (
        "blocks/attn/q_lora_a",
        "3,072",
        f"{614400 / summary.n_base:.3f} %",
        f"{100 * ratio:.1f} % of full",
    ):
        assert part in said
