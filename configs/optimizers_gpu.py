"""Does Muon's or Lion's speed-up over AdamW hold up to 100 M parameters?

The GPU twin of configs/optimizers_cpu.py: widths 128 to 1,024 at eight layers (2 M to 101 M parameters),
three lengths of 1,000, 2,000 and 4,000 steps of 64 x 1,024 tokens, four rates for each optimizer
and three seeds, on wiki40b/en. Under mup with a base of 256 the best rate does not move.
Planned, not yet run.

command:         ./launch.sh scaling configs/optimizers_gpu.py
                 lora-jax speedup results/optimizers_gpu --by optimizer --baseline adamw --shared E
expected time:   12 hours on one H100, by the plan: ./launch.sh plan configs/optimizers_gpu.py
expected answer: 1.4 times at the smallest size, falling to 1.1 (2509.02046). It would decide whether the
                 speed-up that we measured on two CPU cores is one of small models alone.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig, SourceConfig
from lora_jax.runs.sweep import chain, expand, over, product, zipped
from lora_jax.training.optimizers.lion import Lion
from lora_jax.training.optimizers.muon import Muon

DEVICE = "h100"
WIDTHS, BASE_WIDTH, HEAD = (128, 256, 512, 1024), 256, 64
ROWS, LENGTH = 64, 1024
TOKENS = over("n_tokens", [steps * ROWS * LENGTH for steps in (1000, 2000, 4000)])
RATES = {"adamw": (1e-3, 2e-3, 4e-3, 8e-3), "lion": (1e-4, 2e-4, 4e-4, 8e-4)}

BASE = RunConfig(
    model=ModelConfig(
        d_model=BASE_WIDTH,
        n_layers=8,
        n_heads=BASE_WIDTH // HEAD,
        vocab_size=16_384,
        context=LENGTH,
        tied_head=False,
        qk_norm=True,
        parametrisation="mup",
        base_width=BASE_WIDTH,
        **LLAMA,
    ),
    data=DataConfig(
        sources=(SourceConfig(name="tfds:wiki40b/en"),),
        tokenizer="bpe:16384",
        seq_len=LENGTH,
        heldout_fraction=0.005,
        heldout_tokens=2**20,
    ),
    optim=OptimConfig(batch_size=ROWS, warmup_steps=150, lr_size_exponent=0),
    n_tokens=1000 * ROWS * LENGTH,
)


def runs() -> list[RunConfig]:
    widths = zipped(over("model.d_model", WIDTHS), over("model.n_heads", [w // HEAD for w in WIDTHS]))
    rates = {name: over("optim.learning_rate", values) for name, values in RATES.items()}
    optimizers = chain(
        rates["adamw"],
        product([{"optim.optimizer": Muon()}], rates["adamw"]),
        product([{"optim.optimizer": Lion()}], rates["lion"]),
    )
    return expand(BASE, product(over("seed", [0, 1, 2]), widths, optimizers, TOKENS))
