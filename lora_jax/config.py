"""What to run, as frozen dataclasses. A run's identity is the hash of its configuration."""

from dataclasses import dataclass, fields
from typing import Annotated, Literal

from lora_jax.errors import LoraJaxError
from lora_jax.identity import added_later, digest, to_dict
from lora_jax.model_config import BERT, LLAMA, ModelConfig, RopeScaling
from lora_jax.optimizer_config import (
    HORIZON_EXPONENT,
    WARMUP_STEPS,
    OptimizerConfig,
    check_horizon,
    check_optimizer,
    check_parts,
    check_schedule,
    check_warmup,
)
from lora_jax.ranges import (
    STEPS,
    TOKENS,
    Batch,
    BelowOne,
    Count,
    Factor,
    Length,
    ProperShare,
    Range,
    Rate,
    Seed,
    Share,
    Small,
    Weight,
    check_fields,
    show,
    whole,
)

__all__ = [
    "BERT", "BPE", "HORIZON_EXPONENT", "LLAMA", "ClassConfig", "ClassesConfig", "DataConfig", "ModelConfig",
    "OptimConfig", "OptimizerConfig", "RopeScaling", "RunConfig", "SourceConfig", "TaskConfig",
    "added_later", "bpe_size", "digest", "run_id", "to_dict", "trunk_id",
]  # fmt: skip

ScheduleName = Literal["wsd", "cosine", "linear", "inverse_sqrt", "constant"]
Cooldown = Literal["1-sqrt", "linear"]
KNOW_THEIR_HORIZON = ("cosine", "linear")  # schedules whose every step depends on the length of the run
BPE = whole(257, 1_000_000)  # entries of a vocabulary: at least every byte and a separator
IDS = whole(2, 2**24)  # number of ids, if the tokenizer is unknown


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One source of documents.

    Attributes:
        name: "sotu" comes with lora_jax. "tfds:NAME" or "tfds:NAME/CONFIG" is any text set of
            tensorflow-datasets. "files:PATTERN" is a folder or a glob of local files: text (a document in
            each file), JSON lines, Parquet or Arrow (a document in each row). "package:NAME" is the Python
            files of an installed package, such as "package:flax". "tokens:PATTERN" is .bin files of tokens as
            nanoGPT, llm.c and Megatron write them. "hf:NAME" or "hf:NAME:CONFIG" is a set of the Hugging Face
            hub, read by the package datasets.
        weight: Share of the training sequences, relative to the other sources.
        split: Split of a set, or of a folder that Hugging Face's datasets saved. A part such as "train[:1%]"
            works for a set.
        text_field: The feature, field or column that holds the text.
    """

    name: str = "sotu"
    weight: Weight = 1.0
    split: str = "train"
    text_field: str = "text"

    def __post_init__(self) -> None:
        check_fields(self, "data.sources")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which text a model is trained on, how it becomes tokens, and how much of it is used.

    Attributes:
        sources: Where the documents come from.
        tokenizer: "bytes", "bpe:512" (trained on the sources), or the path of a tokenizer.json. For sources
            of tokens it is the tokenizer.json that made them, or "unknown:SIZE" with the number of ids.
        seq_len: Number of tokens that the model predicts in a sequence.
        heldout_fraction: Share of the documents' bytes that we never train on.
        heldout_tokens: Largest number of held-out tokens to evaluate.
        unique_tokens: Length in tokens of the training text. A run that is longer reads it again. None takes
            all text.
        max_epochs: We refuse a run that would read its training text more often than this.
        heldout_sources: Sources of held-out text. They replace the part that is cut from `sources`.
    """

    sources: tuple[SourceConfig, ...] = (SourceConfig(),)
    tokenizer: str = "bytes"
    seq_len: Length = 128
    heldout_fraction: ProperShare = 0.05
    heldout_tokens: Annotated[int, TOKENS] = 131_072
    unique_tokens: Annotated[int, TOKENS] | None = None
    max_epochs: Weight = 4.0
    heldout_sources: tuple[SourceConfig, ...] = added_later(())

    def __post_init__(self) -> None:
        check_fields(self, "data")
        if not self.sources:
            raise LoraJaxError("data.sources is empty, but it must name at least one source: add one.")
        if self.heldout_sources and self.heldout_fraction != DataConfig.heldout_fraction:
            raise LoraJaxError(
                f"data.heldout_fraction is {self.heldout_fraction:g} and data.heldout_sources is given, from"
                " which all held-out text comes: leave one of them out."
            )
        kind = self.tokenizer.partition(":")[0]
        if kind == "bpe":
            bpe_size(self.tokenizer)
        elif kind == "unknown":
            unknown_size(self.tokenizer)


def bpe_size(tokenizer: str) -> int:
    """Return the size of the vocabulary in "bpe:SIZE".

    Raises:
        LoraJaxError: SIZE is no number in the range.
    """
    return _size_in(tokenizer, BPE, "bpe:512", "every byte and a separator at least")


def unknown_size(tokenizer: str) -> int:
    """Return the number of ids in "unknown:SIZE".

    Raises:
        LoraJaxError: SIZE is no number in the range.
    """
    return _size_in(tokenizer, IDS, "unknown:50257", "the number of ids")


def _size_in(tokenizer: str, within: Range, example: str, meaning: str) -> int:
    try:
        return within.read("SIZE", tokenizer.partition(":")[2])
    except LoraJaxError:
        form = f"{example.partition(':')[0]}:SIZE"
        raise LoraJaxError(
            f"data.tokenizer is {show(tokenizer)}, but it must be {form!r}, SIZE {within.words} ({meaning}),"
            f" for example {example!r}: correct it."
        ) from None


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """A labelled task to fine-tune on: which one, how much of it, and how it becomes tokens.

    If the source lacks a dev or test split, we cut it from train. No input is in two splits.

    Attributes:
        name: "sentiment-sample" comes with lora_jax. "sst2", "rte" and "e2e", and for prompts only "qa" and
            "xsum", are in the folder $LORA_JAX_TASKS. Without it sst2 and rte come from tensorflow-datasets,
            as do "tfds:glue/sst2" and the rest of GLUE, "tfds:e2e_cleaned", "tfds:squad" and "tfds:xsum".
            "files:FOLDER" holds train and, if you have them, dev and test, as .jsonl, .tsv or .csv files with
            columns (text, label), (text, pair, label) or (prompt, completion). "files:FILE" is train alone.
            "text:SOURCE", such as "text:package:flax" or "text:files:notes/*.md", is text without labels,
            from any source of documents. An example is then a window of max_tokens tokens, and a language
            model predicts each token from those before it.
        n_train: Training examples, drawn with `data_seed`. A smaller number gives a subset of a larger. None
            takes all.
        n_dev: Dev examples. None takes all, or a tenth of train's inputs if dev is cut from train.
        n_test: Test examples. None as for `n_dev`.
        data_seed: Seed of the draw of examples.
        template: A prompt with columns in braces, such as "{sentence} The sentiment is".
        answers: The word for each label, in the order of labels, if a template asks for one. None takes the
            labels' names.
        max_tokens: Largest number of tokens in an example, with its special tokens.
        batching: "buckets" groups examples of similar length. "packed" puts several examples in one row.
        chat: Whether to put a prompt, or an instruction with its input, as a user's message into the base's
            chat template.
    """

    name: str = "sst2"
    n_train: Count | None = None
    n_dev: Count | None = None
    n_test: Count | None = None
    data_seed: Seed = 0
    template: str | None = None
    answers: tuple[str, ...] | None = added_later(None)
    max_tokens: Annotated[int, whole(2, 2**20)] = 128
    batching: Literal["buckets", "packed"] = "buckets"
    chat: bool = added_later(False)

    def __post_init__(self) -> None:
        check_fields(self, "task")


@dataclass(frozen=True, kw_only=True)
class ClassConfig:
    """How a class of weights is trained, relative to the run.

    Attributes:
        rate: Factor on the learning rate.
        decay: Factor on the weight decay. None is 1 for weights that multiply in the model, otherwise 0.
        clip_norm: Clips the gradients of the class to this norm, apart from all others. None clips them to
            the run's norm, together with the others.
    """

    rate: Factor = 1.0
    decay: Annotated[float, Range(0, 1e6)] | None = None
    clip_norm: Weight | None = None

    def __post_init__(self) -> None:
        check_fields(self, "optim.classes")


@dataclass(frozen=True, kw_only=True)
class ClassesConfig:
    """How each class of weights is trained. None trains it as the run does.

    Attributes:
        embedding: Tables whose rows are looked up. A tied embedding is one.
        matrix: Matrices of products inside the model.
        readout: Matrices whose outputs are words or classes.
        vector: Norms, biases and gains.
    """

    embedding: ClassConfig | None = None
    matrix: ClassConfig | None = None
    readout: ClassConfig | None = None
    vector: ClassConfig | None = None

    def __post_init__(self) -> None:
        check_fields(self, "optim.classes")

    @property
    def given(self) -> dict[str, ClassConfig]:
        """The classes that have a configuration, by name."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: found for name, found in said.items() if found is not None}


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """An optimizer and its learning-rate schedule.

    The peak learning rate of a run is learning_rate * (100,000 / N) ** lr_size_exponent, where N leaves out
    embeddings. docs/learning-rate.md has the measurement behind this rule.

    Attributes:
        learning_rate: Peak learning rate of a model with N = 100,000.
        lr_size_exponent: How fast the peak falls with model size.
        batch_size: Sequences in a step.
        schedule: What the rate does after warmup. "wsd" stays constant and then cools down, "cosine" falls to
            final_lr_fraction, "linear" falls to zero, "inverse_sqrt" falls as 1 / sqrt(step) and "constant"
            stays. Runs that differ only in length share a trunk, their common beginning, if their rate does
            not depend on their length. With cosine and linear it does.
        warmup_steps: Steps in which the rate rises to its peak.
        cooldown_fraction: For wsd, the last share of the steps, in which the rate falls to zero.
        final_lr_fraction: For cosine, the rate at the end relative to the peak.
        weight_decay: Weight decay. It acts on matrices only.
        clip_norm: Clips gradients to this norm.
        beta1: AdamW's decay of the first moment.
        beta2: AdamW's decay of the second moment.
        eps: AdamW's epsilon.
        accumulate: Reads the batch in this many parts, one after another. The gradient is that of the whole
            batch. The memory is that of a part.
        optimizer: The optimizer, such as `Muon()` of lora_jax.training.optimizers. None is AdamW with beta1,
            beta2 and eps.
        classes: Factors of rate and decay, and clips, for classes of weights.
        cooldown: For wsd, how the rate falls: as 1 - sqrt of the cooldown's share, or linearly.
        base_batch: The batch_size at which learning_rate and beta2 hold. For another batch_size, the rate
            grows as its square root, and beta2 becomes beta2 ** (batch_size / base_batch), within 0.9 and
            0.9999. The second moments of other optimizers follow the same rule: that of Muon's Adam, and
            schedule-free AdamW's.
        base_tokens: The n_tokens at which learning_rate holds. Other runs multiply it by (base_tokens /
            n_tokens) ** horizon_exponent. Such runs share no trunk.
        horizon_exponent: The exponent of base_tokens' rule.
        warmup_fraction: Warmup as a share of the run's steps. It replaces warmup_steps. Such runs share no
            trunk.
    """

    learning_rate: Rate = 4e-3
    lr_size_exponent: Annotated[float, Range(-2, 2)] = 0.5
    batch_size: Batch = 16
    schedule: ScheduleName = "wsd"
    warmup_steps: Annotated[int, STEPS] = WARMUP_STEPS
    cooldown_fraction: ProperShare = 0.2
    final_lr_fraction: Share = 0.1
    weight_decay: Annotated[float, Range(0, 1e3)] = 0.1
    clip_norm: Weight = 1.0
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.95
    eps: Small = 1e-8
    accumulate: Batch = added_later(1)
    optimizer: OptimizerConfig | None = added_later(None)
    classes: ClassesConfig | None = added_later(None)
    cooldown: Cooldown = added_later("1-sqrt")
    base_batch: Batch | None = added_later(None)
    base_tokens: Annotated[int, TOKENS] | None = added_later(None)
    horizon_exponent: Annotated[float, Range(0, 2)] = added_later(HORIZON_EXPONENT)
    warmup_fraction: ProperShare | None = added_later(None)

    def __post_init__(self) -> None:
        check_optimizer(self)
        check_fields(self, "optim")
        check_schedule(self)
        check_horizon(self)
        check_warmup(self)
        check_parts(self.batch_size, self.accumulate)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run.

    Attributes:
        model: The shape of the model.
        data: The text.
        optim: The optimizer and its schedule.
        n_tokens: Training tokens, D.
        seed: Sets the initial weights and the order of the data.
    """

    model: ModelConfig
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    n_tokens: Annotated[int, TOKENS]
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.data.seq_len > self.model.context:
            raise LoraJaxError(
                f"data.seq_len is {self.data.seq_len} and model.context is {self.model.context}:"
                " a sequence must fit the context, lower one or raise the other."
            )
        if self.n_steps <= self.warmup_steps:
            raise LoraJaxError(
                f"n_tokens is {self.n_tokens}, which is {self.n_steps} steps of {self.tokens_per_step}"
                f" tokens: it must be more than optim.warmup_steps ({self.warmup_steps}), raise it."
            )

        if self.model.parametrisation != "standard" and self.optim.lr_size_exponent:
            raise LoraJaxError(
                f"model.parametrisation is {self.model.parametrisation!r}, which sets how rates change with"
                f" size, and optim.lr_size_exponent is {self.optim.lr_size_exponent:g}: set it to 0."
            )

    @property
    def tokens_per_step(self) -> int:
        """Training tokens in a step."""
        return self.optim.batch_size * self.data.seq_len

    @property
    def n_steps(self) -> int:
        """Steps of the run."""
        return self.n_tokens // self.tokens_per_step

    @property
    def warmup_steps(self) -> int:
        """Steps over which the rate rises to its peak."""
        fraction = self.optim.warmup_fraction
        return self.optim.warmup_steps if fraction is None else round(fraction * self.n_steps)


def run_id(config: RunConfig) -> str:
    """Return the run's name: its size, tokens and seed in readable form, then a hash of every field."""
    m = config.model
    return f"d{m.d_model}x{m.n_layers}-t{config.n_tokens}-s{config.seed}-{digest(to_dict(config))}"


def knows_horizon(optim: OptimConfig) -> bool:
    """Return whether the rate of every step depends on the run's length, by its schedule, peak or warmup."""
    return (
        optim.schedule in KNOW_THEIR_HORIZON
        or optim.base_tokens is not None
        or optim.warmup_fraction is not None
    )


def trunk_id(config: RunConfig) -> str:
    """Return the name that runs share if they differ only in `n_tokens`.

    Such runs are branches of one trunk, unless their rate depends on their length (`knows_horizon`). Then
    each is a trunk of its own.
    """
    fields = to_dict(config)
    if not knows_horizon(config.optim):
        del fields["n_tokens"]
    return f"d{config.model.d_model}x{config.model.n_layers}-s{config.seed}-{digest(fields)}"
