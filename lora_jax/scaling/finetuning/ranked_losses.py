"""Losses of full fine-tuning and of a low-rank method at several ranks, place by place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.scaling.laws.law import Array


@dataclass(frozen=True)
class Ranks:
    """Mean losses of full fine-tuning and of ranks, at places where both have runs.

    Attributes:
        ln_f: ln F of each row less its centre, (n,).
        ln_r: ln of the rank of each row less its centre, (n,). 0 for full fine-tuning.
        ln_n: ln N of each row less its centre, (n,).
        centre: What was subtracted from ln F, ln r and ln N.
        is_full: Which rows are full fine-tuning, (n,).
        place: The number of the place of each row, (n,), from 0.
        log_loss: Mean ln L, (n,).
        weights: Runs behind each row, (n,).
        within: The sum of squares within rows, between seeds, and its degrees of freedom.
        by_size: Whether N varies.
    """

    ln_f: Array
    ln_r: Array
    ln_n: Array
    centre: tuple[float, float, float]
    is_full: np.ndarray
    place: np.ndarray
    log_loss: Array
    weights: Array
    within: tuple[float, int]
    by_size: bool

    @property
    def n_params(self) -> int:
        """Number of parameters of the law of the excess."""
        return 4 if self.by_size else 3

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the noise: rows and seeds, less places and parameters."""
        return len(self.ln_f) - int(self.place.max()) - 1 - self.n_params + self.within[1]

    @property
    def terms(self) -> Array:
        """The terms in which ln F - ln F^c is linear, (n, 4).

        They are ln F, -1, -ln r and -ln N. All are 0 for full fine-tuning.
        """
        columns = np.stack([self.ln_f, -np.ones_like(self.ln_f), -self.ln_r, -self.ln_n], 1)
        return columns * ~self.is_full[:, None]

    def centred(self, values: Array) -> Array:
        """Return values (..., n) less their weighted mean at each place."""
        one = np.eye(int(self.place.max()) + 1)[self.place]  # (n, places)
        means = (values * self.weights) @ one / (self.weights @ one)
        return values - means[..., self.place]

    def excess(self, slopes: Array) -> Array:
        """Return the excess, (..., n), of the law with slopes (..., 4): k, and k times ln c, g and h."""
        return np.maximum(0.0, slopes @ self.terms.T)

    def squares(self, slopes: Array) -> Array:
        """Return the weighted sum of squares, (...), that laws with these slopes leave."""
        left = self.centred(self.log_loss - self.excess(slopes))
        return (left * left) @ self.weights


def rows_of_ranks(
    log_loss: Mapping[tuple[float, float, float | None], Sequence[float]], by_size: bool
) -> Ranks | None:
    """Return the rows of ranks and of full fine-tuning. None if no place has both.

    Args:
        log_loss: ln L of the runs by (F, N, rank). The rank is None for full fine-tuning.
        by_size: Whether N varies.
    """
    full = {(f, n) for f, n, r in log_loss if r is None}
    keys = [key for key in sorted(log_loss, key=str) if (key[0], key[1]) in full]
    places = {place: i for i, place in enumerate(sorted({(f, n) for f, n, r in keys if r is not None}))}
    keys = [key for key in keys if (key[0], key[1]) in places]
    if not any(r is not None for _, _, r in keys):
        return None
    groups = [np.asarray(log_loss[key]) for key in keys]
    is_full = np.array([r is None for _, _, r in keys])
    ln_f, ln_n = np.log([f for f, _, _ in keys]), np.log([n for _, n, _ in keys])
    ln_r = np.log([1.0 if r is None else r for _, _, r in keys])
    centre = (float(ln_f.mean()), float(ln_r[~is_full].mean()), float(ln_n.mean()))
    within = sum(float(((g - g.mean()) ** 2).sum()) for g in groups)
    return Ranks(
        ln_f - centre[0],
        np.where(is_full, 0.0, ln_r - centre[1]),
        ln_n - centre[2],
        centre,
        is_full,
        np.array([places[f, n] for f, n, _ in keys]),
        np.array([g.mean() for g in groups]),
        np.array([float(len(g)) for g in groups]),
        (within, sum(len(g) - 1 for g in groups)),
        by_size,
    )
