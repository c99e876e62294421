"""A held-out loss: a mean over windows, with its standard error over documents."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HeldOut:
    """A mean held-out loss with its standard error.

    Attributes:
        loss: Mean loss in nats per token.
        standard_error: Its standard error, clustered by document. None if there is only one document.
    """

    loss: float
    standard_error: float | None

    def bits_per_byte(self, bytes_per_token: float | None) -> float | None:
        """Return the loss in bits per byte of text. None if the text of the tokens is not known."""
        return None if bytes_per_token is None else self.loss / math.log(2) / bytes_per_token


def clustered_standard_error(values_W: np.ndarray, clusters_W: np.ndarray) -> float | None:
    """Return the cluster-robust standard error of a mean (Liang & Zeger 1986). None for one cluster."""
    _, index = np.unique(clusters_W, return_inverse=True)
    n_clusters = int(index.max()) + 1
    if n_clusters < 2:
        return None
    sums = np.bincount(index, weights=values_W - values_W.mean())
    return math.sqrt(n_clusters / (n_clusters - 1) * float(np.square(sums).sum())) / len(values_W)
