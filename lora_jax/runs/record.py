"""RunRecord: everything known about one finished run."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One finished run. A failure is a status, never a number: a diverged or halted run has no losses.

    Losses are in nats per token; held-out loss is the mean over the held-out windows at the end of the run.
    """

    run_id: str
    sweep: str
    status: Literal["done", "diverged", "halted"]  # halted: others were better (successive halving)
    config: dict[str, Any]  # RunConfig as nested dicts
    data: dict[str, Any]  # what the tokens were: sources, tokenizer, counts, fingerprint
    seed: int
    # N by three conventions
    n_params: int  # without embeddings and without the output head (Kaplan et al. 2020)
    n_params_with_head: int  # and the output head, tied or not: every weight that multiplies
    n_params_total: int  # every array
    # D
    n_tokens: int  # tokens seen
    unique_tokens: int  # different tokens among them
    epochs: float  # n_tokens / the unique tokens to draw from; the largest over the sources of a mixture
    # C
    flops: float  # 6 n_params_with_head n_tokens
    flops_exact: float  # every matmul of forward and backward, attention scores and head included
    # results
    train_loss: float | None  # mean over the last twentieth of the steps
    heldout_loss: float | None
    heldout_loss_se: float | None  # standard error, clustered by held-out document
    bits_per_byte: float | None
    # how
    cooled: bool  # did the learning rate come down before the end
    learning_rate: float  # the peak that was used
    n_steps: int
    # Step of the first loss that was not finite; n_steps where it ended above its start.
    diverged_at: int | None
    # Cost: of this run's own steps (a shared trunk counts for the first that needed it) and its evaluation,
    # in the process that finished it: what a process that was stopped had spent before is not in them. Where
    # runs were trained side by side, wall_seconds is this run's share, and tokens_per_second its own alone.
    wall_seconds: float
    trained_tokens: int
    tokens_per_second: float | None  # compilation left out; None where too few steps to time
    device: str
    versions: dict[str, str]
    git_commit: str | None
    created_at: str  # UTC, ISO 8601
    # Added later; at their defaults they are not in the file.
    finetuning: dict[str, Any] | None = None  # a Finetuning as a dict; None: trained from scratch
    lanes: int = 1  # how many runs at most were side by side, this one included, in the process that ended it
    halted_at: int | None = None  # step


@dataclass(frozen=True, kw_only=True)
class Finetuning:
    """What a fine-tuning run has besides: it adapted a base model to a task by a method.

    Its record's losses are those of the task: the mean loss of training, and of the test split (per example
    for a classifier, per token of the completions else). A number with an interval: {"value", "se", "ci95"}.
    """

    base: str  # name of the pretrained model
    base_fingerprint: str
    task: str
    label: str  # of the method in the sweep, such as "LoRA r 4"
    method: dict[str, Any]  # its configuration, its name under "method"
    n_trainable: int  # parameters that train, without a classifier's head
    n_head: int  # of the new head, which every method trains
    flops_share: float  # FLOPs of a step over those of full fine-tuning
    optimizer_bytes: int
    metric: str  # the score that the comparison is made by, such as "accuracy"
    dev: dict[str, Any]  # score name -> number with interval, at the weights that were kept
    test: dict[str, Any]
    test_values: list[float]  # one an example of the test split: right 1 or wrong 0, or its mean loss
    kept_step: int  # whose weights were best on the dev split
    stopped_early: bool
    seconds_per_step: float | None  # compilation left out
    # [step, loss, score by `metric`] of every dev score; nothing in records of before version 0.3
    dev_curve: list[list[float]] = field(default_factory=list)
    study: dict[str, Any] = field(default_factory=dict)  # an InStudy as a dict; empty in other sweeps


@dataclass(frozen=True, kw_only=True)
class InStudy:
    """What the run of a study of several bases and set sizes has besides.

    source: A `lora_jax.finetuning.forgetting.Forgetting` as a dict. None where the base predicts no words.
    """

    n_train: int  # examples, or windows of text
    finetune_tokens: int  # tokens of the training split, each counted once
    pretraining_tokens: int | None  # tokens that the base was trained on; None where nobody said
    source: dict[str, Any] | None


COLUMNS: tuple[str, ...] = (
    "run_id",
    "sweep",
    "status",
    "seed",
    "d_model",
    "n_layers",
    "n_params",
    "n_params_with_head",
    "n_params_total",
    "n_tokens",
    "unique_tokens",
    "epochs",
    "flops",
    "flops_exact",
    "train_loss",
    "heldout_loss",
    "heldout_loss_se",
    "bits_per_byte",
    "cooled",
    "learning_rate",
    "base_learning_rate",
    "batch_size",
    "schedule",
    "n_steps",
    "diverged_at",
    "wall_seconds",
    "trained_tokens",
    "tokens_per_second",
    "device",
    "git_commit",
    "created_at",
    "lanes",
    "halted_at",
)
FINETUNING_COLUMNS: tuple[str, ...] = (
    "run_id", "sweep", "status", "seed", "base", "task", "label", "n_trainable", "n_head", "n_params_total",
    "flops_share", "optimizer_bytes", "learning_rate", "batch_size", "n_tokens", "epochs", "n_steps",
    "kept_step", "flops_exact", "train_loss", "heldout_loss", "heldout_loss_se", "metric", "dev_score",
    "test_score", "test_score_low", "test_score_high", "diverged_at", "wall_seconds", "seconds_per_step",
    "tokens_per_second", "device", "git_commit", "created_at",
)  # fmt: skip
STUDY_COLUMNS: tuple[str, ...] = (
    "n_params", "pretraining_tokens", "n_train", "finetune_tokens", "rank", "bits_per_byte", "source_loss",
    "source_change", "source_change_se",
)  # fmt: skip  # after those of fine-tuning
