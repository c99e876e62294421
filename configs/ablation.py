"""Why do small runs miss L(N,D): rate, batch, warmup, parametrisation, optimizer, or range?

One grid of five widths (16 to 64, 7 k to 101 k parameters without embeddings) and five lengths (300 to 4,800
steps of 512 tokens), trained by eight recipes. Seven of them differ from the first in one thing. The first is
AdamW under mup, at the rate that docs/transfer.md measured. Three small cells have three seeds each. The page
also fits each recipe again without its shortest runs, and without its smallest models.

command:         ./launch.sh ablation configs/ablation.py
expected time:   15 minutes on two CPU cores
expected answer: the recipes lie off the law by 3 to 6 % over the whole grid, and below twice the seeds' noise
                 once runs of fewer than 1,000 steps are left out; Muon needs the shortest range.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.runs.sweep import chain, expand, over, product, zipped
from lora_jax.training.optimizers.muon import Muon

WIDTHS, BASE_WIDTH, HEAD = (16, 24, 32, 48, 64), 32, 8
ROWS, LENGTH = 8, 64
TOKENS = [steps * ROWS * LENGTH for steps in (300, 600, 1200, 2400, 4800)]
NOISE = ((0, 2), (1, 3), (2, 1))  # cells with three seeds, as places in WIDTHS and TOKENS

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
    optim=OptimConfig(learning_rate=1.1e-2, batch_size=ROWS, lr_size_exponent=0),
    n_tokens=TOKENS[0],
)
STANDARD = {"model.parametrisation": "standard", "model.base_width": None}

RECIPES = [
    {},
    # the default rule, 4e-3 (100,000 / N)^0.5
    {**STANDARD, "optim.learning_rate": 4e-3, "optim.lr_size_exponent": 0.5},
    STANDARD,  # one rate for every size
    {"optim.base_tokens": TOKENS[2]},  # the rate falls as D^-0.3
    {"optim.batch_size": 4, "optim.base_batch": 8},
    {"optim.batch_size": 16, "optim.base_batch": 8},
    {"optim.warmup_fraction": 0.05},
    {"optim.optimizer": Muon()},
]


def runs() -> list[RunConfig]:
    widths = zipped(over("model.d_model", WIDTHS), over("model.n_heads", [w // HEAD for w in WIDTHS]))
    tokens = over("n_tokens", TOKENS)
    noise = chain(*(product([widths[i]], [tokens[j]]) for i, j in NOISE))
    cells = chain(product(widths, tokens), product(over("seed", [1, 2]), noise))
    return expand(BASE, product(RECIPES, cells))
