"""Counting a transformer from its shape alone: parameters by three conventions, FLOPs per token exactly.

The same numbers as the model's own declaration gives (lora_jax/model/declare.py), for tables of others'
runs and without jax. A multiply-add is two FLOPs; the backward pass costs twice the forward.
"""

from dataclasses import dataclass
from typing import Literal

from lora_jax.errors import LoraJaxError
from lora_jax.ranges import Layers, Length, Width, check_fields


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Shape of a decoder-only transformer; the defaults are GPT-2's choices."""

    n_layers: Layers
    d_model: Width
    n_heads: Width | None = None  # None: one head, or d_model / head_dim where that is given
    head_dim: Width | None = None  # None: d_model / n_heads
    n_kv_heads: Width | None = None  # None: as many as n_heads
    d_ff: Width | None = None  # None: 4 d_model
    vocab_size: Width | None = None  # None: not known, and only the count without embeddings can be had
    context: Length | None = None  # learned positions, each d_model weights; None: none are learned
    gated: bool = False  # swiglu: a third matrix in the MLP
    bias: bool = True  # on every matrix but the head, and in layer norms
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    tied_head: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        if self.head_dim is None and self.d_model % (self.n_heads or 1):
            raise LoraJaxError(
                f"d_model is {self.d_model} and n_heads {self.n_heads}, of which it is no multiple:"
                " give head_dim too."
            )
        if self.n_heads is None and self.head_dim and self.d_model % self.head_dim:
            raise LoraJaxError(
                f"d_model is {self.d_model} and head_dim {self.head_dim}, of which it is no multiple:"
                " give n_heads too."
            )

    @property
    def heads(self) -> int:
        return self.n_heads or (self.d_model // self.head_dim if self.head_dim else 1)

    @property
    def attention_width(self) -> int:
        """Width of all heads together, d_model in most models."""
        return self.heads * (self.head_dim or self.d_model // self.heads)

    @property
    def kv_width(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.attention_width // self.heads * (self.n_kv_heads or self.heads)

    @property
    def ff_width(self) -> int:
        return self.d_ff or 4 * self.d_model

    @property
    def vocabulary(self) -> int:
        """vocab_size; raises LoraJaxError where the shape does not say."""
        if self.vocab_size is None:
            raise LoraJaxError("The shape has no vocab_size, which embeddings and head need: give it.")
        return self.vocab_size


def count_parameters(shape: Shape) -> dict[str, int]:
    """Count the parameters of a model by three conventions.

    Returns:
        N under the names of a run table's columns. `n_params` counts blocks and the final norm, without
        embeddings (Kaplan et al. 2020, arXiv 2001.08361, section 2.1). `n_params_with_head` adds d_model x
        vocab_size for the head, tied or not; it counts every weight that multiplies. `n_params_total` counts
        every array once, with position embeddings (Hoffmann et al. 2022, arXiv 2203.15556). Without a
        vocab_size in the shape the last two are absent.
    """
    body = shape.n_layers * (_block_matrices(shape) + _block_vectors(shape)) + _norm(shape)
    counts = {"n_params": body}
    if shape.vocab_size is not None:
        table = shape.d_model * shape.vocab_size
        counts["n_params_with_head"] = body + table
        positions = shape.d_model * (shape.context or 0)
        counts["n_params_total"] = body + table * (1 if shape.tied_head else 2) + positions
    return counts


def flops_per_token(shape: Shape, seq_len: int) -> int:
    """Return the exact training FLOPs per token of sequences of seq_len tokens: forward plus backward.

    Every matmul counts, the head and the full T x T attention scores included; elementwise work and the
    embedding, a look-up, do not. Raises LoraJaxError where the shape has no vocab_size.
    """
    matrices = shape.n_layers * _block_matrices(shape) + shape.d_model * shape.vocabulary
    attention = 2 * seq_len * shape.attention_width * shape.n_layers  # scores, and the average of the values
    return 3 * 2 * (matrices + attention)


def hoffmann_flops(shape: Shape, seq_len: int = 2048, *, embeddings: bool = False) -> int:
    """Return the training FLOPs of one sequence as Hoffmann et al. 2022 count them (2203.15556, appendix F).

    Per block: queries, keys, values, scores, softmax (3 H T^2), average, projection, and the two matrices of
    the MLP. embeddings: add the embedding as a matmul and the logits, both of which the text of appendix F
    lists. Its table A4 is met without them only: with them 6ND is exceeded by 58 % at 73 M parameters, where
    the table says 3 %.
    """
    T, D, A, F = seq_len, shape.d_model, shape.attention_width, shape.ff_width
    attention = 2 * 3 * T * D * A + 2 * T * T * A + 3 * shape.heads * T * T + 2 * T * T * A + 2 * T * A * D
    forward = shape.n_layers * (attention + 2 * T * (D * F + F * D))
    if embeddings:
        forward += 2 * (2 * T * D * shape.vocabulary)
    return 3 * forward


def hoffmann_parameters(shape: Shape) -> int:
    """Return N of a model of Hoffmann et al. 2022, whose vocabulary is 32,000: Gopher's, one embedding.

    Positions are relative (Dai et al. 2019, arXiv 1901.02860): a fifth D x A matrix and two vectors a block.
    """
    D, A, F = shape.d_model, shape.attention_width, shape.ff_width
    matrices = 5 * D * A + 2 * D * F
    biases = 3 * A + D + F + D + 2 * A
    return shape.n_layers * (matrices + biases + 2 * 2 * D) + 2 * D + D * shape.vocabulary


def _block_matrices(shape: Shape) -> int:
    attention = shape.d_model * (2 * shape.attention_width + 2 * shape.kv_width)
    return attention + (3 if shape.gated else 2) * shape.d_model * shape.ff_width


def _block_vectors(shape: Shape) -> int:
    """Weights of a block that no matmul reads: its two norms, and the biases of its matrices."""
    norms = 2 * _norm(shape)
    if not shape.bias:
        return norms
    attention = shape.attention_width + 2 * shape.kv_width + shape.d_model
    return norms + attention + (2 if shape.gated else 1) * shape.ff_width + shape.d_model


def _norm(shape: Shape) -> int:
    return shape.d_model * (2 if shape.norm == "layernorm" and shape.bias else 1)
