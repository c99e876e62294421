"""Which peak learning rate is best at each size, and does the rule by which the sweeps set it follow?

Four models of the sweeps train at five rates around the rule's, 4e-3 (100,000 / N) ** 0.5, all with one D.
The report's figure "learning rates" shows the loss against the rate. A warning names each model whose best
rate is at an edge of the grid.

command:         ./launch.sh scaling configs/learning_rate.py
expected time:   4 minutes on two CPU cores
expected answer: a shallow minimum within a factor of 2 of the rule (relative rate 1) at every size.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.runs.sweep import expand, over, product

BASE_RATE = OptimConfig().learning_rate


def runs() -> list[RunConfig]:
    base = RunConfig(
        model=ModelConfig(
            d_model=12, n_layers=2, n_heads=2, vocab_size=512, context=128, tied_head=False, **LLAMA
        ),
        data=DataConfig(tokenizer="bpe:512", seq_len=128, heldout_tokens=65_536),
        optim=OptimConfig(batch_size=4, warmup_steps=20),
        n_tokens=524_288,
    )
    rates = over("optim.learning_rate", [BASE_RATE * 2.0**power for power in (-2, -1, 0, 1, 2)])
    return expand(base, product(over("model.d_model", [12, 24, 48, 96]), rates))
