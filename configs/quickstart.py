"""Do the scaling laws L(N), L(D) and L(C) appear at the smallest scale that fits a coffee break?

Six decoder-only transformers of Llama's shape, two layers each and 12 to 72 wide (3.5 k to 124 k
parameters without embeddings), at five training-set sizes over a factor of 16, on the State of the Union
corpus (byte-level BPE, 512 tokens). Three seeds in three small cells give the noise; 36 runs in all.

command:         ./launch.sh quickstart
expected time:   4 minutes on two CPU cores, after installation
expected answer: loss falls as a power law along each axis; alpha_N, alpha_D and alpha_C positive, with
                 intervals that exclude 0. The largest cell is held out of the fits and predicted.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.runs.sweep import chain, expand, over, product

WIDTHS = over("model.d_model", [12, 16, 24, 32, 48, 72])
TOKENS = over("n_tokens", [98_304, 196_608, 393_216, 786_432, 1_572_864])

BASE = RunConfig(
    model=ModelConfig(
        d_model=72, n_layers=2, n_heads=2, vocab_size=512, context=128, tied_head=False, **LLAMA
    ),
    data=DataConfig(tokenizer="bpe:512", seq_len=128, heldout_tokens=65_536),
    optim=OptimConfig(batch_size=4, warmup_steps=20),
    n_tokens=1_572_864,
)


def runs() -> list[RunConfig]:
    cells = chain(*(product([WIDTHS[i]], [TOKENS[j]]) for i, j in ((0, 2), (2, 3), (3, 1))))
    return expand(BASE, chain(product(WIDTHS, TOKENS), product(over("seed", [1, 2]), cells)))
