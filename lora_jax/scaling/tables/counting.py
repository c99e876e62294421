"""Count a transformer from its shape: parameters by three conventions, and exact FLOPs per token.

The numbers are those of the model's own declaration (lora_jax/model/declare.py). Here they need no jax and
serve for anybody's runs. A multiply-add counts as two FLOPs. The backward pass costs twice the forward pass.
"""

from dataclasses import dataclass
from typing import Literal

from lora_jax.errors import LoraJaxError
from lora_jax.ranges import Layers, Length, Width, check_fields


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a decoder-only transformer. The defaults are GPT-2's choices.

    Attributes:
        n_layers: Number of blocks.
        d_model: Width of the residual stream.
        n_heads: Number of heads. None takes d_model / head_dim, or one head without head_dim.
        head_dim: Width of a head. None takes d_model / n_heads.
        n_kv_heads: Number of key and value heads. None takes n_heads.
        d_ff: Width of the MLP. None takes 4 d_model.
        vocab_size: Entries of the vocabulary. If None, we can only count without embeddings.
        context: Number of learned positions, of d_model weights each. None if positions are not learned.
        gated: Whether the MLP has a third matrix, as in SwiGLU.
        bias: Whether layer norms and all matrices but the head have biases.
        norm: Kind of norm.
        tied_head: Whether the head is the embedding matrix.
    """

    n_layers: Layers
    d_model: Width
    n_heads: Width | None = None
    head_dim: Width | None = None
    n_kv_heads: Width | None = None
    d_ff: Width | None = None
    vocab_size: Width | None = None
    context: Length | None = None
    gated: bool = False
    bias: bool = True
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
        """Number of heads."""
        return self.n_heads or (self.d_model // self.head_dim if self.head_dim else 1)

    @property
    def attention_width(self) -> int:
        """Width of all heads together. It is d_model in most models."""
        return self.heads * (self.head_dim or self.d_model // self.heads)

    @property
    def kv_width(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.attention_width // self.heads * (self.n_kv_heads or self.heads)

    @property
    def ff_width(self) -> int:
        """Width of the MLP."""
        return self.d_ff or 4 * self.d_model

    @property
    def vocabulary(self) -> int:
        """The size of the vocabulary.

        Raises:
            LoraJaxError: The shape does not give it.
        """
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
    """Return the exact training FLOPs per token of sequences of `seq_len` tokens: forward plus backward.

    Every matrix multiplication counts, including the head and the full T x T attention scores. Elementwise
    work does not count, and neither does the embedding, which is a look-up.

    Raises:
        LoraJaxError: The shape has no vocab_size.
    """
    matrices = shape.n_layers * _block_matrices(shape) + shape.d_model * shape.vocabulary
    attention = 2 * seq_len * shape.attention_width * shape.n_layers  # scores, and the average of the values
    return 3 * 2 * (matrices + attention)


def hoffmann_flops(shape: Shape, seq_len: int = 2048, *, embeddings: bool = False) -> int:
    """Return the training FLOPs of one sequence as Hoffmann et al. count them.

    A block has queries, keys, values, scores, softmax (3 H T^2), average, projection, and the two matrices of
    the MLP.

    Args:
        shape: Shape of the model.
        seq_len: Tokens of the sequence, T.
        embeddings: Whether to add the embedding as a matrix multiplication, and the logits. The text of
            appendix F lists both. But its table A4 only comes out without them. With them the count exceeds
            6ND by 58 % at 73 M parameters, where the table says 3 %.

    Source: Hoffmann et al. 2022 (arXiv 2203.15556), appendix F.
    """
    T, D, A, F = seq_len, shape.d_model, shape.attention_width, shape.ff_width
    attention = 2 * 3 * T * D * A + 2 * T * T * A + 3 * shape.heads * T * T + 2 * T * T * A + 2 * T * A * D
    forward = shape.n_layers * (attention + 2 * T * (D * F + F * D))
    if embeddings:
        forward += 2 * (2 * T * D * shape.vocabulary)
    return 3 * forward


def hoffmann_parameters(shape: Shape) -> int:
    """Return N of a model of Hoffmann et al. 2022. They use Gopher's vocabulary of 32,000 and one embedding.

    Positions are relative (Dai et al. 2019, arXiv 1901.02860). They add a fifth D x A matrix and two vectors
    to each block.
    """
    D, A, F = shape.d_model, shape.attention_width, shape.ff_width
    matrices = 5 * D * A + 2 * D * F
    biases = 3 * A + D + F + D + 2 * A
    return shape.n_layers * (matrices + biases + 2 * 2 * D) + 2 * D + D * shape.vocabulary


def _block_matrices(shape: Shape) -> int:
    attention = shape.d_model * (2 * shape.attention_width + 2 * shape.kv_width)
    return attention + (3 if shape.gated else 2) * shape.d_model * shape.ff_width


def _block_vectors(shape: Shape) -> int:
    """Count the weights of a block outside its matrices: two norms, and the biases of the matrices."""
    norms = 2 * _norm(shape)
    if not shape.bias:
        return norms
    attention = shape.attention_width + 2 * shape.kv_width + shape.d_model
    return norms + attention + (2 if shape.gated else 1) * shape.ff_width + shape.d_model


def _norm(shape: Shape) -> int:
    return shape.d_model * (2 if shape.norm == "layernorm" and shape.bias else 1)
