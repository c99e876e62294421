"""RunRecord: everything that is known about one finished run."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One finished run. A failure is a status, never a number: a diverged or halted run has no losses.

    Losses are in nats per token. Costs count this run's own steps and its evaluation, in the process that
    finished it. They leave out what a process that was stopped had spent before. The steps of a shared trunk
    count for the first run that needed them.

    Attributes:
        run_id: The run's id, which ends in a hash of its config.
        sweep: Name of the sweep.
        status: "done", "diverged", or "halted" if others were better (successive halving).
        config: The RunConfig as nested dictionaries.
        data: What the tokens were: sources, tokenizer, counts and fingerprint.
        seed: The seed.
        n_params: N without embeddings and without the output head (Kaplan et al. 2020).
        n_params_with_head: N with the output head, tied or not: every weight that multiplies.
        n_params_total: N with every array.
        n_tokens: D, the tokens seen.
        unique_tokens: Different tokens among them.
        epochs: n_tokens over the unique tokens to draw from. For a mixture, the largest over its sources.
        flops: C as 6 n_params_with_head n_tokens.
        flops_exact: C from every matmul of forward and backward, including attention scores and the head.
        train_loss: Mean training loss over the last twentieth of the steps.
        heldout_loss: Mean over the held-out windows at the end of the run.
        heldout_loss_se: Its standard error, clustered by held-out document.
        bits_per_byte: The held-out loss in bits per byte of text.
        cooled: Whether the learning rate came down before the end.
        learning_rate: The peak that was used.
        n_steps: Number of steps of the run.
        diverged_at: Step of the first loss that was not finite. n_steps if the run ended above its start.
        wall_seconds: Wall time. If runs trained side by side, this run's share.
        trained_tokens: Tokens trained on in the process that finished it.
        tokens_per_second: Speed of this run alone, without compilation. None if there were too few steps to
            time.
        device: The device.
        versions: Versions of Python and of the libraries.
        git_commit: Commit of the code. None if it was not a checkout.
        created_at: When the record was made, in UTC, ISO 8601.
        finetuning: A `Finetuning` as a dictionary. None for a run that was trained from scratch.
        lanes: Largest number of runs side by side, including this one, in the process that finished it.
        halted_at: The step at which successive halving stopped it.
    """

    run_id: str
    sweep: str
    status: Literal["done", "diverged", "halted"]
    config: dict[str, Any]
    data: dict[str, Any]
    seed: int
    n_params: int
    n_params_with_head: int
    n_params_total: int
    n_tokens: int
    unique_tokens: int
    epochs: float
    flops: float
    flops_exact: float
    train_loss: float | None
    heldout_loss: float | None
    heldout_loss_se: float | None
    bits_per_byte: float | None
    cooled: bool
    learning_rate: float
    n_steps: int
    diverged_at: int | None
    wall_seconds: float
    trained_tokens: int
    tokens_per_second: float | None
    device: str
    versions: dict[str, str]
    git_commit: str | None
    created_at: str
    # These fields came later. The file leaves them out if they have their defaults.
    finetuning: dict[str, Any] | None = None
    lanes: int = 1
    halted_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class Finetuning:
    """What the record of a fine-tuning run has in addition.

    The losses in its record are those of the task: the mean training loss, and the loss of the test split.
    They are per example for a classifier and per token of the completions for a language model. A number with
    an interval is {"value", "se", "ci95"}.

    Attributes:
        base: Name of the pretrained model.
        base_fingerprint: Hash of its weights.
        task: Name of the task.
        label: Label of the method in the sweep, such as "LoRA r 4".
        method: The method's configuration, with its name under "method".
        n_trainable: Parameters that train, without a classifier's head.
        n_head: Parameters of the new head, which every method trains.
        flops_share: FLOPs of a step over those of full fine-tuning.
        optimizer_bytes: Bytes of the optimizer's state.
        metric: The score by which methods are compared, such as "accuracy".
        dev: By score name, a number with interval on the dev split, at the weights that were kept.
        test: The same on the test split.
        test_values: One number for each example of the test split: 1 if right and 0 if wrong, or its mean
            loss.
        kept_step: The step whose weights were best on the dev split.
        stopped_early: Whether it ran out of patience.
        seconds_per_step: Time of a step without compilation.
        dev_curve: [step, loss, score by `metric`] of every dev score. Empty in records from before version
            0.3.
        study: An `InStudy` as a dictionary. Empty in other sweeps.
    """

    base: str
    base_fingerprint: str
    task: str
    label: str
    method: dict[str, Any]
    n_trainable: int
    n_head: int
    flops_share: float
    optimizer_bytes: int
    metric: str
    dev: dict[str, Any]
    test: dict[str, Any]
    test_values: list[float]
    kept_step: int
    stopped_early: bool
    seconds_per_step: float | None
    dev_curve: list[list[float]] = field(default_factory=list)
    study: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class InStudy:
    """What the record of a run has in addition if it belongs to a study of several bases and set sizes.

    Attributes:
        n_train: Number of training examples, or of windows of text.
        finetune_tokens: Tokens of the training split, each counted once.
        pretraining_tokens: Tokens that the base was trained on. None if it is not known.
        source: A `lora_jax.finetuning.forgetting.Forgetting` as a dictionary. None if the base predicts no
            words.
    """

    n_train: int
    finetune_tokens: int
    pretraining_tokens: int | None
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
    "n_params",
    "pretraining_tokens",
    "n_train",
    "finetune_tokens",
    "rank",
    "bits_per_byte",
    "source_loss",
    "source_change",
    "source_change_se",
)  # they come after the columns of fine-tuning
