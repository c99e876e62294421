"""How do L(N), L(D) and L(C) look over a decade and a half of N on a machine without an accelerator?

Seven decoder-only transformers of Llama's shape, two layers each and 24 to 128 wide (14 k to 396 k parameters
without embeddings, 28-fold), at six training-set sizes from 0.6 to 4.1 million tokens, all below one epoch,
on the State of the Union corpus (byte-level BPE, 512 tokens). Two seeds up to a width of 64. No run has fewer
than 1,200 steps: shorter ones do not follow the law yet (docs/recipes.md).

command:         ./launch.sh scaling configs/scaling_cpu.py
expected time:   15 minutes on two CPU cores
expected answer: the runs lie less than twice the seeds' noise off L(N,D), whose exponents have narrower
                 intervals than the quickstart's, and the largest cell is predicted within 3 %.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.runs.sweep import chain, expand, over, product, zipped

SIZES = (24, 32, 48, 64, 80, 104, 128)
BASE_WIDTH, HEAD, ROWS, LENGTH = 32, 8, 8, 64
WIDTHS = zipped(over("model.d_model", SIZES), over("model.n_heads", [w // HEAD for w in SIZES]))
TOKENS = over("n_tokens", [steps * ROWS * LENGTH for steps in (1200, 1750, 2550, 3750, 5500, 8000)])

BASE = RunConfig(
    model=ModelConfig(
        d_model=BASE_WIDTH,
        n_layers=2,
        n_heads=BASE_WIDTH // HEAD,
        vocab_size=512,
        context=LENGTH,
        tied_head=False,
        qk_norm=True,
        parametrisation="mup",
        base_width=BASE_WIDTH,
        **LLAMA,
    ),
    data=DataConfig(tokenizer="bpe:512", seq_len=LENGTH, heldout_tokens=131_072),
    # docs/transfer.md measured this rate, which under mup is the best at every width.
    optim=OptimConfig(learning_rate=1.1e-2, batch_size=ROWS, warmup_steps=60, lr_size_exponent=0),
    n_tokens=4_096_000,
)


def runs() -> list[RunConfig]:
    return expand(BASE, chain(product(WIDTHS, TOKENS), product(over("seed", [1]), WIDTHS[:4], TOKENS)))
