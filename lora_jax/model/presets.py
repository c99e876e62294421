"""Published language models as shapes: what their makers announced, and what their shapes count.

We count every size from the ModelConfig alone (`count_parameters`). So a preset is right if the count agrees
with the one that its makers print. The notes say what a paper leaves open and what we took for it.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from lora_jax.config import BERT, LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError, nearest


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One published model. What its makers do not say is None.

    Attributes:
        title: Its name.
        creators: Who made it.
        year: The year of its publication.
        config: Its shape.
        announced: The size by which the model is known.
        n_params: The most exact count that its makers print.
        n_tokens: Training tokens D. The notes say where a paper gives another number.
        source: Where the facts are from.
        notes: What the paper leaves open, and what we took for it.
    """

    title: str
    creators: str
    year: int
    config: ModelConfig | None
    announced: int | None
    n_params: int | None
    n_tokens: int | None
    source: str
    notes: tuple[str, ...] = ()


def _gpt2(title: str, announced: int, n_params: int, d_model: int, n_layers: int, n_heads: int) -> Preset:
    shape: dict[str, Any] = dict(d_model=d_model, n_layers=n_layers, n_heads=n_heads)
    return Preset(
        title=title,
        creators="OpenAI",
        year=2019,
        config=ModelConfig(**shape, vocab_size=50_257, context=1024),
        announced=announced,
        n_params=n_params,
        n_tokens=10_000_000_000,
        source="Radford et al. 2019; sizes as its released code corrects them",
        notes=(
            "The paper says 40 GB of text and no count of tokens: 10 billion is 4 bytes a token, read once.",
            "The paper's sizes (117 to 1,542 M) are miscounted, says its code; its own are compared here.",
        ),
    )


PRESETS: dict[str, Preset] = {
    "gpt2": _gpt2("GPT-2 small", 117_000_000, 124_000_000, 768, 12, 12),
    "gpt2-medium": _gpt2("GPT-2 medium", 345_000_000, 355_000_000, 1024, 24, 16),
    "gpt2-large": _gpt2("GPT-2 large", 762_000_000, 774_000_000, 1280, 36, 20),
    "gpt2-xl": _gpt2("GPT-2 XL", 1_500_000_000, 1_558_000_000, 1600, 48, 25),
    "bert-large": Preset(
        title="BERT-large", creators="Google", year=2018,
        config=ModelConfig(
            d_model=1024, n_layers=24, n_heads=16, vocab_size=30_522, context=512, **BERT
        ),
        announced=340_000_000, n_params=336_000_000, n_tokens=42_598_400_000,
        source="arXiv 1810.04805, section 3 and appendix A.2; 336 M: the released model's card",
        notes=(
            "The encoder alone; its pooler and the heads of pretraining have 2.1 M more.",
            "Tokens: 1,000,000 steps of 256 sequences, of 128 tokens in nine steps of ten and then of 512.",
        ),
    ),
    "gpt3": Preset(
        title="GPT-3", creators="OpenAI", year=2020,
        config=ModelConfig(d_model=12_288, n_layers=96, n_heads=96, vocab_size=50_257, context=2048),
        announced=175_000_000_000, n_params=174_600_000_000, n_tokens=300_000_000_000,
        source="arXiv 2005.14165, table 2.1 and appendix D",
        notes=("Half of its layers attend in bands; the exact FLOPs count all scores all the same.",),
    ),
    "palm": Preset(
        title="PaLM", creators="Google", year=2022,
        config=ModelConfig(
            d_model=18_432, n_layers=118, n_heads=48, head_width=256, n_kv_heads=1, d_ff=4 * 18_432,
            vocab_size=256_000, context=2048, positions="rope", mlp="swiglu", bias=False,
            parallel_residual=True, shared_norm=True,
        ),
        announced=540_000_000_000, n_params=540_350_000_000, n_tokens=780_000_000_000,
        source="arXiv 2204.02311, sections 2 and 5 and table 1",
    ),
    "chinchilla": Preset(
        title="Chinchilla", creators="DeepMind", year=2022,
        config=ModelConfig(
            d_model=8192, n_layers=80, n_heads=64, d_ff=4 * 8192, vocab_size=32_000, context=2048,
            norm="rmsnorm", positions="transformer_xl", bias=False,
        ),
        announced=70_000_000_000, n_params=70_000_000_000, n_tokens=1_400_000_000_000,
        source="arXiv 2203.15556, table 4; Gopher's details: arXiv 2112.11446, section 3.1",
        notes=(
            "70 billion counts W_r, Transformer-XL's projection of distances, 5.4 billion of them.",
            "Not stated: biases (taken: none) and whether the head is the embedding (taken: it is).",
        ),
    ),
    "lamda": Preset(
        title="LaMDA", creators="Google", year=2022,
        config=ModelConfig(
            d_model=8192, n_layers=64, n_heads=128, head_width=128, d_ff=65_536, vocab_size=32_000,
            context=2048, norm="rmsnorm", positions="t5", mlp="geglu", bias=False,
        ),
        announced=137_000_000_000, n_params=137_000_000_000, n_tokens=1_560_000_000_000,
        source="arXiv 2201.08239, section 3",
        notes=(
            "137 billion are the parameters without embeddings; the table counts them.",
            "1.56 trillion are its corpus' words. Its chips' hours, 3.55e23 FLOPs, are 0.43 trillion tokens.",
            "Not stated: sequence length (taken: 2,048), norm, biases and head (taken: as T5's, none, tied).",
        ),
    ),
    "llama": Preset(
        title="LLaMA", creators="Meta", year=2023,
        config=ModelConfig(
            d_model=8192, n_layers=80, n_heads=64, d_ff=22_016, vocab_size=32_000, context=2048,
            tied_head=False, **LLAMA,
        ),
        announced=65_000_000_000, n_params=65_200_000_000, n_tokens=1_400_000_000_000,
        source="arXiv 2302.13971, table 2",
    ),
    "llama2": Preset(
        title="LLaMA-2", creators="Meta", year=2023,
        config=ModelConfig(
            d_model=8192, n_layers=80, n_heads=64, n_kv_heads=8, d_ff=28_672, vocab_size=32_000, context=4096,
            tied_head=False, **LLAMA,
        ),
        announced=70_000_000_000, n_params=68_976_648_192, n_tokens=2_000_000_000_000,
        source="arXiv 2307.09288, table 1; parameters: the released checkpoint",
        notes=("Known as 70 billion; the checkpoint has 1.5 % less.",),
    ),
    "gpt4": Preset(
        title="GPT-4", creators="OpenAI", year=2023,
        config=None, announced=None, n_params=None, n_tokens=None,
        source="arXiv 2303.08774, section 2",
        notes=("Its report gives neither size nor tokens nor shape.",),
    ),
}  # fmt: skip


def find_preset(name: str) -> Preset:
    """Return a preset by its key or title, in any case.

    Raises:
        LoraJaxError: No preset has this name. The message names the nearest.
    """
    titles = {preset.title.casefold(): key for key, preset in PRESETS.items()}
    key = titles.get(name.casefold(), name.casefold())
    if key not in PRESETS:
        raise LoraJaxError(f"no model is called {name!r}{nearest(name, PRESETS)}: name one of these.")
    return PRESETS[key]


def reduced(config: ModelConfig, d_model: int = 24, n_layers: int = 2, context: int = 24) -> ModelConfig:
    """Return the same structure on a small scale. It keeps every choice, and every ratio of widths nearly."""
    ratio = d_model / config.d_model
    n_heads = 4
    kv_heads = {1: 1, config.n_heads: n_heads}.get(config.kv_heads, n_heads // 2)
    return dataclasses.replace(
        config,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        head_width=2 * round(config.n_heads * config.head_dim * ratio / n_heads / 2),
        n_kv_heads=None if config.n_kv_heads is None else kv_heads,
        d_ff=round(config.ff_width * ratio),
        vocab_size=48,
        context=context,
    )
