"""What a fine-tuning run is, and a sweep: methods, each at several learning rates, then several seeds."""

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
    """AdamW with linear warmup and linear decay to zero, or another optimizer and schedule.

    Gradients are clipped by their norm.

    The dev split is scored `evaluations` times, evenly over the steps; the weights of the best score are
    kept, and training stops after `patience` scores in a row that are no better.
    """

    learning_rate: Rate = 1e-3  # the peak
    batch_size: Batch = 16  # examples a step
    epochs: Annotated[int, whole(1, 10**6)] = 3
    warmup_fraction: BelowOne = 0.06  # share of the steps
    weight_decay: Annotated[float, Range(0, 1e3)] = 0.01  # on matrices only
    clip_norm: Weight = 1.0
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.999
    eps: Small = 1e-8
    evaluations: Count = 3
    patience: Count | None = None
    # Examples of the test split that a language model completes, for BLEU and ROUGE.
    n_completions: Count = added_later(64)
    steps: Count | None = added_later(None)  # in place of whole epochs
    accumulate: Batch = added_later(1)  # parts that a batch is read in, as in OptimConfig
    optimizer: OptimizerConfig | None = added_later(None)  # None: AdamW with the betas and eps above
    classes: ClassesConfig | None = added_later(None)  # as in OptimConfig
    schedule: ScheduleName = added_later("linear")  # after warmup, as in OptimConfig
    cooldown: Cooldown = added_later("1-sqrt")  # of wsd
    cooldown_fraction: ProperShare = added_later(0.2)  # of wsd
    final_lr_fraction: Share = added_later(0.1)  # of cosine

    def __post_init__(self) -> None:
        check_optimizer(self)
        check_fields(self, "optim")
        check_schedule(self)
        check_parts(self.batch_size, self.accumulate)

    @property
    def numbers(self) -> OptimConfig:
        """What the compiled step depends on: runs that differ in the rest share one program."""
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


# Per method, because one rate for all of them would decide the comparison: LoRA's best is about ten times
# full fine-tuning's (Schulman et al. 2025, "LoRA Without Regret"), and what trains a few numbers wants more.
RATES: dict[str, tuple[float, ...]] = {
    "Full": (3e-5, 1e-4, 3e-4),
    "TopLayers": (1e-4, 3e-4, 1e-3),
    "Prefix": (3e-3, 1e-2, 3e-2),
    "Prompt": (3e-3, 1e-2, 3e-2),
    "IA3": (3e-3, 1e-2, 3e-2),
    "VeRA": (3e-3, 1e-2, 3e-2),
}
OTHER_RATES = (1e-3, 3e-3, 1e-2)  # LoRA and its kin, adapters, biases and norms; for some hundred steps


def default_rates(method: MethodConfig) -> tuple[float, ...]:
    """Return the learning rates that a sweep tries for a method."""
    return RATES.get(type(method).__name__, OTHER_RATES)


@dataclass(frozen=True, kw_only=True)
class FinetuneSweep:
    """Methods to compare on one task.

    Each method tries its own learning rates with the first seed. The rate with the best dev score then gets
    all seeds; of two equal ones the lower rate wins. The test split decides nothing. If two runs of a sweep
    have the same configuration, it is trained once.

    Attributes:
        base: "minilm" or "smollm2", a Hugging Face folder, or a hub id.
        task: The task.
        methods: The methods, by label.
        optim: The optimizer.
        seeds: The seeds.
        rates: Learning rates to try, by label. A method without any takes `default_rates`.
    """

    base: str
    task: TaskConfig
    methods: dict[str, MethodConfig]  # by label
    optim: TuneConfig = TuneConfig()
    seeds: tuple[Seed, ...] = (0, 1, 2)
    rates: dict[str, tuple[Rate, ...]] = field(default_factory=dict)  # by label; else default_rates

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.methods or not self.seeds:
            raise LoraJaxError("a fine-tuning sweep needs at least one method and one seed: add them.")
        for label in self.rates:
            if label not in self.methods:
                raise LoraJaxError(f"rates names the method {label!r}{nearest(label, self.methods)}.")

    def only(self, labels: Sequence[str]) -> "FinetuneSweep":
        """Return the sweep of some of its methods."""
        for label in labels:
            if label not in self.methods:
                raise LoraJaxError(f"the sweep has no method {label!r}{nearest(label, self.methods)}.")
        methods = {label: self.methods[label] for label in labels}
        return replace(self, methods=methods, rates={k: v for k, v in self.rates.items() if k in methods})

    def rates_of(self, label: str) -> tuple[float, ...]:
        return self.rates.get(label, default_rates(self.methods[label]))

    def run(self, label: str, rate: float, seed: int) -> FinetuneConfig:
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
        """Return every run that the sweep may come to: all rates with all seeds."""
        return [
            self.run(label, rate, seed)
            for label in self.methods
            for rate in self.rates_of(label)
            for seed in self.seeds
        ]


def finetune_to_dict(config: FinetuneConfig) -> dict[str, Any]:
    """Return a run's configuration as plain dicts, the method's name among its fields."""
    return {
        "base": config.base,
        "task": to_dict(config.task),
        "method": method_to_dict(config.method),
        "label": config.label,
        "optim": to_dict(config.optim),
        "seed": config.seed,
    }


def finetune_id(config: FinetuneConfig) -> str:
    """Return the run's name: task, method, rate and seed, then a hash of every field."""
    label = re.sub(r"[^a-z0-9]+", "-", config.label.lower()).strip("-")
    task = re.sub(r"[^a-z0-9]+", "-", config.task.name.lower()).strip("-")
    identity = digest(finetune_to_dict(config))
    return shorten_id(f"{task}-{label}", f"lr{config.optim.learning_rate:g}-s{config.seed}-{identity}")


def best_rate(scores: dict[float, float], larger_is_better: bool) -> float:
    """Return the rate of the best dev score, the lower one of equals; a diverged run has no score here."""
    sign = -1.0 if larger_is_better else 1.0
    return min(scores, key=lambda rate: (sign * scores[rate], rate))
