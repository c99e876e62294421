"""Is Muon or Lion better than AdamW once each has its own best rate, by how much, and how sure is that?

Four widths from 16 to 96 at two layers (7 k to 222 k parameters without embeddings), three lengths of 600,
1,200 and 2,400 steps, four rates for each optimizer and three seeds for every rate, so that no optimizer wins
by a lucky draw. The parametrisation is mup with a base of 32, under which the best rate does not move with
width (docs/transfer.md), so that one grid of rates serves every size. Everything else is equal: data, batch,
schedule, weight decay, and the seeds. The three lengths share a trunk.

command:         ./launch.sh ablation configs/optimizers_cpu.py --out results/optimizers_cpu
                 lora-jax speedup results/optimizers_cpu --by optimizer --baseline adamw --shared E
expected time:   40 minutes on two CPU cores
expected answer: Muon needs fewer steps than AdamW, by 1.1 to 1.5 times, and gains less in seconds.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.runs.sweep import chain, expand, over, product, zipped
from lora_jax.training.optimizers.lion import Lion
from lora_jax.training.optimizers.muon import Muon

WIDTHS, BASE_WIDTH, HEAD = (16, 32, 64, 96), 32, 8
ROWS, LENGTH = 8, 64
TOKENS = over("n_tokens", [steps * ROWS * LENGTH for steps in (600, 1200, 2400)])
RATES = {"adamw": (4e-3, 8e-3, 1.6e-2, 3.2e-2), "lion": (1e-3, 2e-3, 4e-3, 8e-3)}

BASE = RunConfig(
    model=ModelConfig(
        d_model=BASE_WIDTH,
        n_layers=2,
        n_heads=BASE_WIDTH // HEAD,
        vocab_size=512,
        context=LENGTH,
        tied_head=False,
        qk_norm=True,  # as in configs/transfer.py: without it the loss jumps near the best rate
        parametrisation="mup",
        base_width=BASE_WIDTH,
        **LLAMA,
    ),
    data=DataConfig(tokenizer="bpe:512", seq_len=LENGTH, heldout_tokens=65_536),
    optim=OptimConfig(batch_size=ROWS, warmup_steps=60, lr_size_exponent=0),
    n_tokens=600 * ROWS * LENGTH,
)


def runs() -> list[RunConfig]:
    widths = zipped(over("model.d_model", WIDTHS), over("model.n_heads", [w // HEAD for w in WIDTHS]))
    rates = {name: over("optim.learning_rate", values) for name, values in RATES.items()}
    optimizers = chain(
        rates["adamw"],
        product([{"optim.optimizer": Muon()}], rates["adamw"]),  # an update of Muon's is as large as Adam's
        product([{"optim.optimizer": Lion()}], rates["lion"]),
    )
    return expand(BASE, product(over("seed", [0, 1, 2]), widths, optimizers, TOKENS))
