"""Is the learning rate that is best for a narrow model best for a wide one?

Five widths at six rates, in two parametrisations: standard with one rate for all sizes (lr_size_exponent
0), and mup relative to the narrowest. Heads are 8 wide at every width. There is one seed, so the intervals
are wide: this sample shows the command.

command:         ./launch.sh transfer configs/transfer_sample.py
expected time:   5 minutes on two free CPU cores
expected answer: in standard the best rate falls with width to a power of -1.21 (-1.37 to -1.05); in mup the
                 power is 0.08 (-0.30 to 0.46).
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.runs.sweep import chain, expand, over, product, zipped

WIDTHS = (16, 24, 32, 48, 64)


def runs() -> list[RunConfig]:
    base = RunConfig(
        model=ModelConfig(
            d_model=16,
            n_layers=2,
            n_heads=2,
            vocab_size=512,
            context=64,
            tied_head=False,
            qk_norm=True,  # or the loss jumps near the best rate, and its curve is no parabola
            **LLAMA,
        ),
        data=DataConfig(tokenizer="bpe:512", seq_len=64, heldout_tokens=32_768),
        optim=OptimConfig(batch_size=16, warmup_steps=60, lr_size_exponent=0),
        n_tokens=300 * 16 * 64,
    )
    widths = zipped(over("model.d_model", WIDTHS), over("model.n_heads", [width // 8 for width in WIDTHS]))
    mup = product(over("model.parametrisation", ["mup"]), over("model.base_width", [16]))
    rates = over("optim.learning_rate", [4e-3 * 2.0**power for power in range(6)])
    return expand(base, product(chain([{}], mup), widths, rates))
