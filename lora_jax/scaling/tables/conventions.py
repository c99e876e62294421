"""Convert between conventions of N and C, and show one table of runs under all of them."""

from dataclasses import dataclass, replace

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.columns import N_COLUMNS
from lora_jax.scaling.tables.counting import Shape, count_parameters, flops_per_token
from lora_jax.scaling.tables.run_table import Array, RunTable

# relative difference up to which two counts of C are one convention: sources print three or four digits
SAME = 1e-3
# Hoffmann et al. 2022: the vocabulary, and the median d_model / n_layers of the 50 models of its table A9
# (40 to 109), for all of which `with_embeddings` then comes within 5.2 % of the exact count
VOCABULARY, ASPECT = 32_000, 75.0


@dataclass(frozen=True)
class Embeddings:
    """What decides how many weights the embeddings of a model have. We count one embedding matrix.

    Attributes:
        vocab_size: Entries of the vocabulary.
        context: Number of learned positions. 0 if positions are not learned.
        aspect: d_model / n_layers.

    Raises:
        LoraJaxError: `vocab_size` or `aspect` is not above 0, or `context` is below 0.
    """

    vocab_size: int = VOCABULARY
    context: int = 0
    aspect: float = ASPECT

    def __post_init__(self) -> None:
        if self.vocab_size < 1 or self.context < 0 or not self.aspect > 0:
            raise LoraJaxError(
                f"vocab_size is {self.vocab_size}, context {self.context} and aspect {self.aspect}: the first"
                " and the last must be above 0, context at least 0."
            )

    @property
    def omega(self) -> float:
        """The embeddings' weights over N^(1/3): (vocab_size + context) (aspect / 12)^(1/3)."""
        return (self.vocab_size + self.context) * (self.aspect / 12) ** (1 / 3)


USUAL = Embeddings()


def with_embeddings(n_params: Array | float, embeddings: Embeddings = USUAL) -> Array:
    """Return the number of all weights of models, embeddings included.

    N_all = N + omega N^(1/3). It holds because N = 12 n_layers d_model^2 and aspect = d_model / n_layers give
    d_model = (aspect N / 12)^(1/3) (Pearce and Song 2024, arXiv 2406.12907).

    Args:
        n_params: Weights outside the embeddings, of any shape.
        embeddings: What decides the weights of the embeddings.

    Returns:
        All weights, in the shape of `n_params`.

    Raises:
        LoraJaxError: A number of weights is not above 0.
    """
    n = _positive("n_params", n_params)
    return n + embeddings.omega * np.cbrt(n)


def without_embeddings(n_params_total: Array | float, embeddings: Embeddings = USUAL) -> Array:
    """Return the number of weights outside the embeddings. This is the inverse of `with_embeddings`.

    It is N = x^3, where x is the one real root of x^3 + omega x = N_all, in hyperbolic form.

    Args:
        n_params_total: All weights, of any shape.
        embeddings: What decides the weights of the embeddings.

    Returns:
        The weights outside the embeddings, in the shape of `n_params_total`.

    Raises:
        LoraJaxError: A number of weights is not above 0.
    """
    total, omega = _positive("n_params_total", n_params_total), embeddings.omega
    root = np.sqrt(omega / 3)
    return (2 * root * np.sinh(np.arcsinh(1.5 * total / (omega * root)) / 3)) ** 3


def exponent_ratio(n_params: Array | float, embeddings: Embeddings = USUAL) -> Array:
    """Return d ln N_all / d ln N, by which an exponent over all weights changes if N leaves embeddings out.

    L ~ N_all^-alpha is locally L ~ N^-(alpha ratio). N_all* ~ C^a is N* ~ C^(a / ratio). The ratio is 1/3 for
    models that are all embedding, and 1 for large models. So the way of counting changes the exponents of
    small models.

    Args:
        n_params: Weights outside the embeddings, of any shape.
        embeddings: What decides the weights of the embeddings.

    Returns:
        The ratio, in the shape of `n_params`.

    Raises:
        LoraJaxError: A number of weights is not above 0.
    """
    n = _positive("n_params", n_params)
    extra = embeddings.omega * np.cbrt(n)
    return (n + extra / 3) / (n + extra)


def flops_ratio(shape: Shape, seq_len: int, n_column: str = "n_params") -> float:
    """Return exact training FLOPs over 6ND, so that C exact = ratio * 6ND.

    N follows the convention `n_column`.
    """
    return flops_per_token(shape, seq_len) / (6 * count_parameters(shape)[n_column])


def convention_tables(table: RunTable) -> dict[str, RunTable]:
    """Return the same runs under every convention of N and C that the columns allow, to refit a law.

    Returns:
        A table for each convention. "n_params, 6ND" takes the column n_params as N and 6 n_params n_tokens as
        C (column `flops_6nd`). "n_params, exact" takes flops_exact as C. "n_params, as given" takes the
        table's flops as C, if they differ from both.

    Raises:
        LoraJaxError: The table has no N or no D.
    """
    sizes = [name for name in N_COLUMNS if name in table.columns]
    if not sizes:
        raise LoraJaxError(f"{table.source} has none of {', '.join(N_COLUMNS)}: add or map one.")
    tokens = table["n_tokens"]
    found: dict[str, RunTable] = {}
    seen: list[Array] = []
    for name in sizes:
        if any(np.array_equal(table[name], other) for other in seen):
            continue  # total and with_head are equal if the head is tied and positions are not learned
        seen.append(table[name])
        c_6nd = 6 * table[name] * tokens
        columns = {**table.columns, "flops_6nd": c_6nd}
        formulas = {**table.formulas, "flops_6nd": f"6 {name} n_tokens"}
        found[f"{name}, 6ND"] = replace(
            table, columns=columns, n_column=name, flops_column="flops_6nd", formulas=formulas
        )
        known = [c_6nd]
        for column, word in (("flops_exact", "exact"), ("flops", "as given")):
            if column in table.columns and not any(np.allclose(table[column], c, rtol=SAME) for c in known):
                known.append(table[column])
                found[f"{name}, {word}"] = replace(table, n_column=name, flops_column=column)
    return found


def _positive(name: str, values: Array | float) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(array) & (array > 0)):
        raise LoraJaxError(f"{name} is {values}, but it must be finite and above 0: mend it.")
    return array
