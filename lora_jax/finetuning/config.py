"""The configuration of a fine-tuning run, and of a sweep over methods, learning rates and seeds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from lora_jax.config import (
    ClassesConfig,
    Cooldown,
    OptimConfig,
    OptimizerConfig,
    ScheduleName,
    TaskConfig,
    added_later,
    check_optimizer,
    check_parts,
    check_schedule,
    digest,
    to_dict,
)
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.names import shorten_id
from lora_jax.peft.method import MethodConfig
from lora_jax.peft.methods import method_to_dict
from lora_jax.ranges import (
    Batch,
    BelowOne,
    Count,
    ProperShare,
    Range,
    Rate,
    Seed,
    Share,
    Small,
    Weight,
    check_fields,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """How a fine-tuning run is optimized. The default is AdamW with linear warmup and linear decay to zero.

    Gradients are clipped by their norm. The dev split is scored `evaluations` times, evenly over the steps.
    The weights of the best score are kept. Training stops after `patience` scores in a row that are no
    better.

    Attributes:
        learning_rate: The peak of the learning rate.
        batch_size: Examples in a step.
        epochs: Passes over the training examples.
        warmup_fraction: Share of the steps in which the rate warms up.
        weight_decay: Decay of matrices. Other weights do not decay.
        clip_norm: The norm to which gradients are clipped.
        beta1: AdamW's decay of the gradient's mean.
        beta2: AdamW's decay of the mean of its square.
        eps: The number that AdamW adds to the root of that mean.
        evaluations: How often the dev split is scored.
        patience: Training stops after so many scores that are no better. None never stops early.
        n_completions: Number of test examples that a language model completes, for BLEU and ROUGE.
        steps: Number of steps. None trains for `epochs`.
        accumulate: Number of parts in which a batch is read, as in OptimConfig.
        optimizer: Another optimizer. None is AdamW with the numbers above.
        classes: Factors for classes of weights, as in OptimConfig.
        schedule: The learning rate after warmup, as in OptimConfig.
        cooldown: How the rate of "wsd" falls.
        cooldown_fraction: Share of the steps in which the rate of "wsd" falls.
        final_lr_fraction: The share of the peak at which "cosine" ends.
    """

    learning_rate: Rate = 1e-3
    batch_size: Batch = 16
    epochs: Annotated[int, whole(1, 10**6)] = 3
    warmup_fraction: BelowOne = 0.06
    weight_decay: Annotated[float, Range(0, 1e3)] = 0.01
    clip_norm: Weight = 1.0
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.999
    eps: Small = 1e-8
    evaluations: Count = 3
    patience: Count | None = None
    n_completions: Count = added_later(64)
    steps: Count | None = added_later(None)
    accumulate: Batch = added_later(1)
    optimizer: OptimizerConfig | None = added_later(None)
    classes: ClassesConfig | None = added_later(None)
    schedule: ScheduleName = added_later("linear")
    cooldown: Cooldown = added_later("1-sqrt")
    cooldown_fraction: ProperShare = added_later(0.2)
    final_lr_fraction: Share = added_later(0.1)

    def __post_init__(self) -> None:
        check_optimizer(self)
        check_fields(self, "optim")
        check_schedule(self)
        check_parts(self.batch_size, self.accumulate)

    @property
    def numbers(self) -> OptimConfig:
        """What the compiled step depends on. Runs that differ only in the rest share one program."""
        common: dict[str, Any] = dict(
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            classes=self.classes,
        )
        if self.optimizer is not None:
            schedule = "constant" if self.optimizer.takes_rate else "wsd"
            return OptimConfig(optimizer=self.optimizer, schedule=schedule, **common)
        return OptimConfig(beta1=self.beta1, beta2=self.beta2, eps=self.eps, **common)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """One fine-tuning run.

    Attributes:
        base: "minilm" or "smollm2" (`./launch.sh fetch NAME`), a Hugging Face folder, or a hub id.
        task: The task. Its data_seed chooses the examples.
        method: The adaptation method.
        label: Name of the method in tables and figures.
        optim: The optimizer.
        seed: Seed of new weights, dropout and the order of the data.
    """

    base: str
    task: TaskConfig
    method: MethodConfig
    label: str
    optim: TuneConfig = TuneConfig()
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)


# Each method has its own rates, because one rate for all would decide the comparison. LoRA's best rate is
# about ten times that of full fine-tuning (Schulman et al. 2025, "LoRA Without Regret"). Methods that train
# only a few numbers need higher ones.
RATES: dict[str, tuple[float, ...]] = {
    "Full": (3e-5, 1e-4, 3e-4),
    "TopLayers": (1e-4, 3e-4, 1e-3),
    "Prefix": (3e-3, 1e-2, 3e-2),
    "Prompt": (3e-3, 1e-2, 3e-2),
    "IA3": (3e-3, 1e-2, 3e-2),
    "VeRA": (3e-3, 1e-2, 3e-2),
}
OTHER_RATES = (1e-3, 3e-3, 1e-2)  # for LoRA and its kin, adapters, biases and norms, over some hundred steps


def default_rates(method: MethodConfig) -> tuple[float, ...]:
    """Return the learning rates that a sweep tries for a method."""
    return RATES.get(type(method).__name__, OTHER_RATES)


@dataclass(frozen=True, kw_only=True)
class FinetuneSweep:
    """Methods to compare on one task.

    Each method tries its own learning rates with the first seed. The rate with the best dev score then gets
    all seeds. If two rates are equally good, the lower one wins. The test split decides nothing. If two runs
    of a sweep have the same configuration, it is trained once.

    Attributes:
        base: "minilm" or "smollm2", a Hugging Face folder, or a hub id.
        task: The task.
        methods: The methods by label, such as {"LoRA r 8": LoRA(rank=8), "full": Full()}.
        optim: The optimizer.
        seeds: Seeds of new weights, dropout and the order of the data. Intervals over seeds need several.
        rates: Learning rates to try, by label. A method without rates here takes the usual ones of its kind,
            such as 1e-3, 3e-3 and 1e-2 for LoRA.
    """

    base: str
    task: TaskConfig
    methods: dict[str, MethodConfig]
    optim: TuneConfig = TuneConfig()
    seeds: tuple[Seed, ...] = (0, 1, 2)
    rates: dict[str, tuple[Rate, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.methods or not self.seeds:
            raise LoraJaxError("a fine-tuning sweep needs at least one method and one seed: add them.")
        for label in self.rates:
            if label not in self.methods:
                raise LoraJaxError(f"rates names the method {label!r}{nearest(label, self.methods)}.")

    def only(self, labels: Sequence[str]) -> "FinetuneSweep":
        """Return the sweep with only these methods.

        Raises:
            LoraJaxError: The sweep has no method of such a label.
        """
        for label in labels:
            if label not in self.methods:
                raise LoraJaxError(f"the sweep has no method {label!r}{nearest(label, self.methods)}.")
        methods = {label: self.methods[label] for label in labels}
        return replace(self, methods=methods, rates={k: v for k, v in self.rates.items() if k in methods})

    def rates_of(self, label: str) -> tuple[float, ...]:
        """Return the learning rates that a method tries."""
        return self.rates.get(label, default_rates(self.methods[label]))

    def run(self, label: str, rate: float, seed: int) -> FinetuneConfig:
        """Return one run of the sweep."""
        return FinetuneConfig(
            base=self.base,
            task=self.task,
            method=self.methods[label],
            label=label,
            optim=replace(self.optim, learning_rate=rate),
            seed=seed,
        )

    def first_runs(self, label: str) -> list[FinetuneConfig]:
        """Return the runs that choose a method's rate."""
        return [self.run(label, rate, self.seeds[0]) for rate in self.rates_of(label)]

    def runs(self) -> list[FinetuneConfig]:
        """Return every run that the sweep may train: all rates with all seeds."""
        return [
            self.run(label, rate, seed)
            for label in self.methods
            for rate in self.rates_of(label)
            for seed in self.seeds
        ]


def finetune_to_dict(config: FinetuneConfig) -> dict[str, Any]:
    """Return a run's configuration as plain dictionaries. The method's name is among its fields."""
    return {
        "base": config.base,
        "task": to_dict(config.task),
        "method": method_to_dict(config.method),
        "label": config.label,
        "optim": to_dict(config.optim),
        "seed": config.seed,
    }


def finetune_id(config: FinetuneConfig) -> str:
    """Return the run's id: its task, method, rate and seed, and a hash of every field."""
    label = re.sub(r"[^a-z0-9]+", "-", config.label.lower()).strip("-")
    task = re.sub(r"[^a-z0-9]+", "-", config.task.name.lower()).strip("-")
    identity = digest(finetune_to_dict(config))
    return shorten_id(f"{task}-{label}", f"lr{config.optim.learning_rate:g}-s{config.seed}-{identity}")


def best_rate(scores: dict[float, float], larger_is_better: bool) -> float:
    """Return the rate of the best dev score. If several are equally good, it is the lowest.

    Args:
        scores: The dev score by rate. Leave diverged runs out.
        larger_is_better: Whether a larger score is better.
    """
    sign = -1.0 if larger_is_better else 1.0
    return min(scores, key=lambda rate: (sign * scores[rate], rate))
