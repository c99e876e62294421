"""How do full fine-tuning and LoRA scale on real models, and from how much data is full fine-tuning better?

The three sizes of SmolLM2 (135 M to 1.7 B parameters, one tokenizer) learn the German Wikipedia, of which
they have read little: 256 to 65,536 windows of 1,023 tokens (.26 to 67 million). The model of 360 M has
further arms for LoRA's rank, what it adapts, and the batch. What is forgotten is measured on English
Wikipedia. It would decide three things that two cores cannot. Does the gap between LoRA and full fine-tuning
close with the size of the base (by the exponents alpha)? Does the rank that a set needs grow with its size
(the capacity)? Does LoRA's best rate stay ten times that of full fine-tuning?

command:         ./launch.sh finetune_laws configs/finetune_laws_gpu.py --dry-run --device h100
                 ./launch.sh finetune_laws configs/finetune_laws_gpu.py --workers 8
expected time:   17 hours on one H100 at 30 % of its peak, 3 on eight
expected answer: not run yet.
"""

from collections.abc import Mapping

from lora_jax.config import LLAMA, DataConfig, ModelConfig, SourceConfig, TaskConfig
from lora_jax.finetuning.config import TuneConfig
from lora_jax.finetuning.study import Arm, FinetuneStudy
from lora_jax.peft.method import MethodConfig
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full

BASES = {size: f"HuggingFaceTB/SmolLM2-{size}" for size in ("135M", "360M", "1.7B")}
PRETRAINING = {"135M": 2 * 10**12, "360M": 4 * 10**12, "1.7B": 11 * 10**12}  # tokens, by their model cards
LENGTH = 1024
TASK = TaskConfig(name="text:tfds:wiki40b/de", max_tokens=LENGTH, n_dev=256, n_test=1_024)
SIZES = (256, 1_024, 4_096, 16_384, 65_536)  # windows
FULL_RATES, LORA_RATES = (1e-5, 3e-5, 1e-4, 3e-4), (1e-4, 3e-4, 1e-3, 3e-3)


def shape(d_model: int, n_layers: int, n_heads: int, n_kv_heads: int, d_ff: int) -> ModelConfig:
    return ModelConfig(
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_ff=d_ff,
        vocab_size=49_152,
        context=8_192,
        tied_head=True,
        **LLAMA,
    )


SHAPES = {
    "135M": shape(576, 30, 9, 3, 1_536),
    "360M": shape(960, 32, 15, 5, 2_560),
    "1.7B": shape(2_048, 24, 32, 32, 8_192),
}


def lora(rank: int, *targets: str) -> LoRA:
    """The setting of "LoRA Without Regret": scale 32 / r, A uniform, B zero."""
    return LoRA(rank=rank, alpha=32.0, init="uniform", targets=targets or ("all",))


def arm(
    sizes: tuple[int, ...], methods: Mapping[str, MethodConfig], bases: tuple[str, ...], batch_size: int = 16
) -> Arm:
    rates = {label: LORA_RATES if isinstance(m, LoRA) else FULL_RATES for label, m in methods.items()}
    return Arm(
        task=TASK,
        n_train=sizes,
        methods=dict(methods),
        rates=rates,
        bases=bases,
        seeds=(0, 1),
        optim=TuneConfig(batch_size=batch_size, epochs=1, evaluations=2),
    )


def study() -> FinetuneStudy:
    english = SourceConfig(name="tfds:wiki40b/en")
    middle = ("360M",)
    some = {"full": Full(), "LoRA r 16": lora(16)}
    ranks = {f"LoRA r {rank}": lora(rank) for rank in (1, 4, 64, 256)}
    targets = {"LoRA r 256, attention": lora(256, "q", "k", "v", "o"), "LoRA r 128, MLP": lora(128, "mlp")}
    return FinetuneStudy(
        bases=BASES,
        pretraining_tokens=PRETRAINING,
        shapes=SHAPES,
        source=DataConfig(sources=(english,), tokenizer="bytes", seq_len=LENGTH, heldout_tokens=2**19),
        arms=(
            arm(SIZES, some, tuple(BASES)),
            arm(SIZES, ranks, middle),
            arm(SIZES[-2:], targets, middle),
            arm(SIZES[-1:], some, middle, batch_size=128),
        ),
    )
