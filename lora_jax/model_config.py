"""The shape of a model, as a frozen dataclass. Import it from lora_jax.config."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from lora_jax.errors import LoraJaxError
from lora_jax.identity import added_later
from lora_jax.ranges import Factor, Layers, Length, Range, Share, Small, Width, check_fields, whole


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """The stretched rotary positions of Llama 3.1 (arXiv 2407.21783; `rope_type: llama3` of Hugging Face).

    Wavelengths above original_context / low_freq_factor are multiplied by `factor`. Those below
    original_context / high_freq_factor stay as they are. Between the two we interpolate.

    Attributes:
        factor: The stretch of long wavelengths.
        low_freq_factor: Sets the wavelength above which all are stretched.
        high_freq_factor: Sets the wavelength below which none is stretched.
        original_context: Context of the model before stretching, in tokens.
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
        n_layers: Number of blocks.
        n_heads: Number of query heads.
        vocab_size: Entries of the vocabulary.
        context: Longest sequence, in tokens.
        n_kv_heads: Number of key and value heads. None takes `n_heads`.
        d_ff: Width inside the MLP. None takes 4 d_model, or with a gate 8/3 d_model, rounded up to a multiple
            of 8.
        norm: Kind of norm.
        norm_eps: Added to the variance in a norm.
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
        remat: What the backward pass recomputes to save memory. "none" is nothing, "dots" all but weight
            products, and "full" whole blocks. "fit" is the cheapest of these that we predict to fit the
            device (training/remat.py), in pretraining. Fine-tuning then recomputes nothing.
        parametrisation: How starts, multipliers and learning rates change with width and depth
            (model/parametrisation.py, docs/parametrisation.md).
        base_width: d_model of the base model, at which "mup" and "completep" are the standard model.
        base_depth: n_layers of the base model, for "completep".
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
    remat: Literal["none", "dots", "full", "fit"] = added_later("none")
    parametrisation: Literal["standard", "plain", "mup", "completep"] = added_later("standard")
    base_width: Width | None = added_later(None)
    base_depth: Layers | None = added_later(None)

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

        self._check_parametrisation()

    def _check_parametrisation(self) -> None:
        name = self.parametrisation
        uses = {"base_width": name in ("mup", "completep"), "base_depth": name == "completep"}
        for field, is_used in uses.items():
            given = getattr(self, field)
            if is_used and given is None:
                raise LoraJaxError(
                    f"model.parametrisation is {name!r} and model.{field} is not set: set it to that of the"
                    " model whose learning rate you know."
                )
            if not is_used and given is not None:
                raise LoraJaxError(
                    f"model.{field} is {given} and model.parametrisation is {name!r}, which does not use it:"
                    " leave it out, or choose 'completep' or, for a width alone, 'mup'."
                )
        if self.base_width is not None and self.norm_placement == "post":
            raise LoraJaxError(
                f"model.parametrisation is {name!r}, which is known for norms before each sublayer, and"
                " model.norm_placement is 'post': set it to 'pre', or the parametrisation to 'standard'."
            )

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.d_model // self.n_heads if self.head_width is None else self.head_width

    @property
    def is_gated(self) -> bool:
        """Whether the MLP has a gate, a third matrix besides up and down."""
        return self.mlp in ("swiglu", "geglu")

    @property
    def rotary_dim(self) -> int:
        """How many numbers of a head are rotated."""
        return int(self.head_dim * self.rope_fraction)

    @property
    def has_lm_head(self) -> bool:
        """Whether the model predicts words. A classifier does not, and neither does an encoder."""
        return self.causal and self.n_classes is None

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads."""
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def ff_width(self) -> int:
        """Width inside the MLP."""
        if self.d_ff is not None:
            return self.d_ff
        return -(-8 * self.d_model // 3 // 8) * 8 if self.is_gated else 4 * self.d_model


# Llama's choices, to be spread into ModelConfig(...): arXiv 2302.13971, section 2.2.
LLAMA: dict[str, Any] = dict(norm="rmsnorm", positions="rope", mlp="swiglu", bias=False)
# BERT's (arXiv 1810.04805), in the same way.
BERT: dict[str, Any] = dict(
    causal=False, norm_placement="post", norm_eps=1e-12, mlp="gelu_exact", n_token_types=2, tied_head=False
)
