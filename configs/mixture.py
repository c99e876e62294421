"""Does a mixture of sources train as its weights say? GPT-3's proportions of web, books and encyclopaedia.

GPT-3 was trained on 429 billion tokens of web text, 67 billion of books and 3 billion of Wikipedia (the token
counts of Brown et al. 2020, table 2.2, as 429 : 67 : 3). Here these are parts of c4, pg19 and wiki40b, sets
that tensorflow-datasets downloads and prepares. c4 takes hundreds of gigabytes and apache-beam for that:
prepare it where you have them, and set TFDS_DATA_DIR. configs/mixture_sample.py asks for no network. Other
sources go into the same proportions by an override:

    ./launch.sh scaling configs/mixture.py data.sources=files:my/web@429,files:my/books@67,files:my/wiki@3

command:         ./launch.sh scaling configs/mixture.py
expected time:   5 minutes on two CPU cores, once the sets are prepared
expected answer: each record's `data` names the three sources with shares .860, .134 and .006 of the training
                 sequences, and the epochs of each. The loss falls with N and D as on a single source.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig, SourceConfig
from lora_jax.runs.sweep import expand, over, product

# Enough documents for a million tokens: about 40 MB of web text, 40 MB of books and 5 MB of Wikipedia.
SOURCES = (
    SourceConfig(name="tfds:c4/en", weight=429.0, split="train[:20000]"),
    SourceConfig(name="tfds:pg19", weight=67.0, split="train[:100]", text_field="book_text"),
    SourceConfig(name="tfds:wiki40b/en", weight=3.0, split="train[:1000]"),
)

BASE = RunConfig(
    model=ModelConfig(
        d_model=48, n_layers=2, n_heads=2, vocab_size=512, context=128, tied_head=False, **LLAMA
    ),
    data=DataConfig(sources=SOURCES, tokenizer="bpe:512", seq_len=128, heldout_tokens=65_536),
    optim=OptimConfig(batch_size=4, warmup_steps=20),
    n_tokens=1_048_576,
)


def runs() -> list[RunConfig]:
    widths = over("model.d_model", [16, 24, 32, 48])
    tokens = over("n_tokens", [131_072, 262_144, 524_288, 1_048_576])
    return expand(BASE, product(widths, tokens))
