"""Which learning rate and which batch size are best together, and does the pair move with the tokens?

Two lengths of one small model, at five rates crossed with four batch sizes, one seed: 40 runs. This sample
shows the command; two sizes are too few for a power law.

command:         ./launch.sh surface configs/surface_sample.py
expected time:   2 minutes on two free CPU cores
expected answer: the best pair is a rate of 0.019 (0.014 to 0.026) and a batch of 3.2 (2.2 to 4.6) at 131 k
                 tokens, and 0.021 (0.016 to 0.027) and 5.1 (4.4 to 5.9) at twice as many.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.runs.sweep import expand, over, product, zipped

BATCHES = (2, 4, 8, 16)
RATES = tuple(4e-3 * 2.0**power for power in range(5))


def runs() -> list[RunConfig]:
    base = RunConfig(
        model=ModelConfig(
            d_model=16,
            n_layers=2,
            n_heads=2,
            vocab_size=512,
            context=64,
            tied_head=False,
            qk_norm=True,  # or the loss jumps near the best rate, and the surface is no quadratic
            **LLAMA,
        ),
        data=DataConfig(tokenizer="bpe:512", seq_len=64, heldout_tokens=32_768),
        optim=OptimConfig(batch_size=16, warmup_steps=20, lr_size_exponent=0),
        n_tokens=131_072,
    )
    batches = zipped(
        over("optim.batch_size", BATCHES), over("optim.warmup_steps", [320 // batch for batch in BATCHES])
    )
    lengths = over("n_tokens", [131_072, 262_144])
    return expand(base, product(lengths, batches, over("optim.learning_rate", RATES)))
