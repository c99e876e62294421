"""How do L(N), L(D) and L(C) look from 0.5 M to 200 M parameters on English Wikipedia?

Six decoder-only transformers of Llama's shape, 128 to 1,024 wide with depth in proportion, at five
training-set sizes over a factor of 16 up to 0.5 billion tokens, on wiki40b/en (byte-level BPE, 16,384
tokens), bfloat16 compute with float32 parameters. Three seeds in one cell. Planned, not yet run.

command:         ./launch.sh scaling configs/scaling_gpu.py
expected time:   at most 8 hours on one 80 GB GPU, by the plan: ./launch.sh plan configs/scaling_gpu.py
expected answer: the exponents of the CPU sweep move towards the published ones (Chinchilla: alpha .35,
                 beta .37) as the vocabulary and N grow; the largest cell predicted within 3 %.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig, SourceConfig
from lora_jax.runs.sweep import chain, expand, over, product, zipped

DEVICE = "a100-80gb"

SHAPES = zipped(
    over("model.d_model", [128, 256, 384, 512, 768, 1024]),
    over("model.n_layers", [2, 4, 6, 8, 12, 16]),
    over("model.n_heads", [2, 4, 6, 8, 12, 16]),
)
TOKENS = over("n_tokens", [2**25, 2**26, 2**27, 2**28, 2**29])

BASE = RunConfig(
    model=ModelConfig(
        d_model=1024, n_layers=16, n_heads=16, vocab_size=16_384, context=1024, tied_head=False, **LLAMA
    ),
    data=DataConfig(
        sources=(SourceConfig(name="tfds:wiki40b/en"),),
        tokenizer="bpe:16384",
        seq_len=1024,
        heldout_fraction=0.005,
        heldout_tokens=2**20,
        max_epochs=2.0,
    ),
    # Flatter than the small models' rule, so that it meets the usual 6e-4 at 100 M parameters.
    optim=OptimConfig(batch_size=16, learning_rate=3.4e-3, lr_size_exponent=0.25, warmup_steps=200),
    n_tokens=2**29,
)


def runs() -> list[RunConfig]:
    noise = product(over("seed", [1, 2]), SHAPES[1:2], TOKENS[2:3])
    return expand(BASE, chain(product(SHAPES, TOKENS), noise))
