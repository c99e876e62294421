"""Do the scaling laws L(N), L(D) and L(C) appear at the smallest scale that fits a coffee break?

Five decoder-only transformers of Llama's shape, two layers each and 24 to 80 wide (14 k to 154 k parameters
without embeddings), at five training-set sizes from 0.6 to 2 million tokens, on the State of the Union corpus
(byte-level BPE, 512 tokens). Three seeds in four small cells give the noise; 33 runs in all. No run has fewer
than 1,200 steps: shorter ones do not follow the law yet (docs/recipes.md).

command:         ./launch.sh quickstart
expected time:   4 minutes on two CPU cores, after installation
expected answer: the runs lie less than twice the seeds' noise off L(N,D), whose exponents are identified. The
                 largest cell is held out of the fits and predicted.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.runs.sweep import chain, expand, over, product, zipped

SIZES = (24, 32, 48, 64, 80)
BASE_WIDTH, HEAD, ROWS, LENGTH = 32, 8, 8, 64
WIDTHS = zipped(over("model.d_model", SIZES), over("model.n_heads", [w // HEAD for w in SIZES]))
TOKENS = over("n_tokens", [steps * ROWS * LENGTH for steps in (1200, 1600, 2200, 3000, 4000)])

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
    data=DataConfig(tokenizer="bpe:512", seq_len=LENGTH, heldout_tokens=65_536),
    # docs/transfer.md measured this rate, which under mup is the best at every width.
    optim=OptimConfig(learning_rate=1.1e-2, batch_size=ROWS, warmup_steps=60, lr_size_exponent=0),
    n_tokens=2_048_000,
)


def runs() -> list[RunConfig]:
    noisy = ((0, 0), (0, 3), (1, 1), (2, 0))
    cells = chain(*(product([WIDTHS[i]], [TOKENS[j]]) for i, j in noisy))
    return expand(BASE, chain(product(WIDTHS, TOKENS), product(over("seed", [1, 2]), cells)))
