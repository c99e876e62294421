"""How do L(N), L(D) and L(C) look over two decades of N on a machine without an accelerator?

Eight decoder-only transformers of Llama's shape, two layers each and 12 to 128 wide (3.5 k to 396 k
parameters without embeddings, 113-fold), at six training-set sizes over a factor of 32, all below one epoch,
on the State of the Union corpus (byte-level BPE, 512 tokens). Two seeds up to a width of 72, three in one
cell.

command:         ./launch.sh scaling configs/scaling_cpu.py
expected time:   26 minutes on two CPU cores
expected answer: power laws along each axis with narrower intervals than the quickstart's, a joint fit whose
                 exponents are identified, and the largest cell predicted within 3 %.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.runs.sweep import chain, expand, over, product

WIDTHS = over("model.d_model", [12, 16, 24, 32, 48, 72, 96, 128])
TOKENS = over("n_tokens", [131_072, 262_144, 524_288, 1_048_576, 2_097_152, 4_194_304])

BASE = RunConfig(
    model=ModelConfig(
        d_model=128, n_layers=2, n_heads=2, vocab_size=512, context=128, tied_head=False, **LLAMA
    ),
    data=DataConfig(tokenizer="bpe:512", seq_len=128, heldout_tokens=131_072),
    optim=OptimConfig(batch_size=4, warmup_steps=20),
    n_tokens=4_194_304,
)


def runs() -> list[RunConfig]:
    again = product(over("seed", [1]), WIDTHS[:6], TOKENS)
    noise = product(over("seed", [2]), WIDTHS[2:3], TOKENS[3:4])
    return expand(BASE, chain(product(WIDTHS, TOKENS), again, noise))
