"""Approach 1: the lower envelope of the training curves, and power laws of its sizes and tokens.

Hoffmann et al. 2203.15556, section 3.1. At each of 1500 FLOP counts, even in ln C, the run with the lowest
loss gives N*(C) and D*(C). If the winner is the smallest or the largest size that got so far, a smaller or
larger one might have won. We show such bins and do not fit them.

Two things bias `a`. A point in the middle of a schedule has a loss that a cooldown would still lower, and not
by as much for every size. And the luckiest of many noisy curves wins. We simulated 50 curves of Chinchilla's
law (a = .514) with 2 % noise on each of 200 points. Smoothed over .1, .5 and 1 in ln D, `a` came out as .454,
.476 and .494.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.scaling.optima.approach_report import EnvelopeResult, Optimum, Stretch
from lora_jax.scaling.optima.optimum_laws import Array, OptimumLaws, slopes
from lora_jax.scaling.optima.training_curves import TrainingCurve
from lora_jax.scaling.prediction.reach import falling
from lora_jax.scaling.verdict import Verdict, verdict_of

MOST_BINS = 1500
FEWEST_SIZES = 4
SMOOTHING = 0.1  # width in ln D of the running mean
WIDE = 0.1  # half width of a's interval from which little is known
NARROW = 10.0  # compute at the end of the fitted envelope over that at its start
FLIPS = 2.0  # changes of the winning size over the fewest possible, from which noise picks the winners
FAILED = 0.1  # share of resamples without an exponent from which the interval is too short


@dataclass(frozen=True)
class Envelope:
    """The result of approach 1: N*(C) = G_N C^a and D*(C) = G_D C^b, over m bins of compute.

    Attributes:
        run_ids: The names of the runs.
        flops: C of each bin (m,).
        n_params: N of each bin's winner (m,).
        n_tokens: D of each bin's winner (m,).
        loss: Loss of each bin's winner (m,), in nats per token.
        winner: Index in `run_ids` of each bin's winner (m,).
        fitted: Whether a bin is fitted (m,): a smaller and a larger size also reached its compute.
        exponents: a, b, G_N and G_D with their intervals.
        n_sizes: How many different sizes are on the envelope.
        n_failed: How many resamples gave no exponent.
        warnings: Every doubt, in words.
        laws: The two power laws, for predictions.
    """

    run_ids: tuple[str, ...]
    flops: Array
    n_params: Array
    n_tokens: Array
    loss: Array
    winner: NDArray[np.int_]
    fitted: NDArray[np.bool_]
    exponents: Mapping[str, Estimate]
    n_sizes: int
    n_failed: int
    warnings: tuple[str, ...]
    laws: OptimumLaws = field(repr=False)

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.warnings)

    def at(self, flops: float) -> Optimum:
        """Return N*, D* and D/N of the power laws at a budget. The budget may lie beyond the runs."""
        return self.laws.at(flops)

    def result(self) -> EnvelopeResult:
        """Return the result as it is printed and written to fit.json."""
        ends = np.flatnonzero(np.diff(self.winner) | np.diff(self.fitted.astype(int)))
        starts, stops = np.append(0, ends + 1), np.append(ends, len(self.winner) - 1)
        span = self.flops[self.fitted]
        return EnvelopeResult(
            self.exponents,
            len(self.flops),
            int(self.fitted.sum()),
            self.n_sizes,
            self.n_failed,
            tuple(self._stretch(i, j) for i, j in zip(starts, stops, strict=True)),
            self.laws.bands(np.geomspace(span[0], span[-1], 25)),
        )

    def _stretch(self, i: int, j: int) -> Stretch:
        """Return the bins from i to j, which one run wins."""
        flops, n_tokens, loss = ((float(x[i]), float(x[j])) for x in (self.flops, self.n_tokens, self.loss))
        run_id, n_params = self.run_ids[self.winner[i]], float(self.n_params[i])
        return Stretch(run_id, n_params, bool(self.fitted[i]), flops, n_tokens, loss)


def envelope(
    curves: Sequence[TrainingCurve],
    *,
    n_bins: int | None = None,
    smoothing: float = SMOOTHING,
    n_bootstrap: int = 400,
    seed: int = 0,
) -> Envelope:
    """Find N*(C) and D*(C) from the lower envelope of training curves.

    This is Chinchilla's approach 1. At each compute the run with the lowest loss wins. A power law through
    the winners gives N*(C) and D*(C). Between the points of a curve, ln L and ln D are linear in ln C.

    Args:
        curves: Loss against tokens of each run.
        n_bins: Number of compute values, evenly spaced in ln C. None takes 1500, or the number of points if
            that is smaller.
        smoothing: Width in ln D of the running mean of ln L; 0 does not smooth. Towards the end of a curve
            the window narrows, so that it stays centred.
        n_bootstrap: Bootstrap replicates behind the intervals. Each draws clusters of curves with
            replacement.
        seed: Seed of the draws.

    Returns:
        The winner of each bin, the exponents with intervals, and a verdict.

    Raises:
        LoraJaxError: Fewer than two sizes win between a smaller and a larger one.

    Reference: Hoffmann et al. 2022 (arXiv 2203.15556), section 3.1.
    """
    n_bins = min(MOST_BINS, sum(len(curve.loss) for curve in curves)) if n_bins is None else n_bins
    _check(curves, n_bins, smoothing, n_bootstrap)
    ln_c = np.linspace(
        math.log(min(curve.flops[0] for curve in curves)),
        math.log(max(curve.flops[-1] for curve in curves)),
        n_bins,
    )
    ln_n = np.log([curve.n_params for curve in curves])
    ln_loss, ln_d = _on_bins(curves, ln_c, smoothing)
    covered = np.isfinite(ln_loss).any(0)
    ln_c, ln_loss, ln_d = ln_c[covered], ln_loss[:, covered], ln_d[:, covered]
    winner, fitted = _winners(ln_loss, ln_n)
    bins = np.arange(len(ln_c))
    answer = _line(ln_c, ln_n[winner], ln_d[winner, bins], fitted)
    if answer is None:
        raise LoraJaxError(
            "Approach 1 needs two sizes that win between a smaller and a larger one and the curves have"
            f" {len(np.unique(ln_n[winner[fitted]]))}: train smaller and larger sizes for as long."
        )
    lines = _resample(curves, ln_c, ln_n, ln_loss, ln_d, n_bootstrap, seed)
    if len(lines) < n_bootstrap / 2:
        raise LoraJaxError(
            f"Only {len(lines)} of {n_bootstrap} resamples of the curves give an exponent: train more sizes."
        )
    laws = OptimumLaws(np.concatenate([answer[None], lines]))
    exponents = laws.exponents()
    n_failed = n_bootstrap - len(lines)
    warnings = [
        *falling(exponents),
        *_doubts(curves, ln_c, ln_n, winner, fitted, exponents["a"], n_failed / n_bootstrap),
    ]
    return Envelope(
        tuple(curve.run_id for curve in curves),
        np.exp(ln_c),
        np.exp(ln_n[winner]),
        np.exp(ln_d[winner, bins]),
        np.exp(ln_loss[winner, bins]),
        winner,
        fitted,
        exponents,
        len(np.unique(ln_n[winner])),
        n_failed,
        tuple(warnings),
        laws,
    )


def _check(curves: Sequence[TrainingCurve], n_bins: int, smoothing: float, n_bootstrap: int) -> None:
    if n_bootstrap < 100:
        raise LoraJaxError(f"The bootstrap was asked for {n_bootstrap} replicates: ask for 100 or more.")
    if smoothing < 0:
        raise LoraJaxError(f"The smoothing is {smoothing:g}: give a width in ln D, 0 for none.")
    if len({curve.n_params for curve in curves}) < 3:
        raise LoraJaxError(
            f"Approach 1 was given {len(curves)} curves of fewer than 3 sizes: train more sizes."
        )
    if n_bins < 3:
        raise LoraJaxError(f"The envelope was asked for {n_bins} bins: ask for some hundreds.")


def smooth_loss(curve: TrainingCurve, width: float) -> Array:
    """Return ln L, (k,), averaged over a centred window in ln D, which narrows towards the ends."""
    ln_d, ln_loss = np.log(curve.n_tokens), np.log(curve.loss)
    half = np.minimum(width / 2, np.minimum(ln_d - ln_d[0], ln_d[-1] - ln_d)) + 1e-12
    first, stop = np.searchsorted(ln_d, ln_d - half), np.searchsorted(ln_d, ln_d + half, side="right")
    total = np.append(0.0, np.cumsum(ln_loss))
    return (total[stop] - total[first]) / (stop - first)


def _on_bins(curves: Sequence[TrainingCurve], ln_c: Array, width: float) -> tuple[Array, Array]:
    """Return ln L, infinite where a curve has not been, and ln D (curves, m)."""
    ln_loss, ln_d = np.full((2, len(curves), len(ln_c)), math.inf)
    for i, curve in enumerate(curves):
        x = np.log(curve.flops)
        inside = (ln_c >= x[0] - 1e-12) & (ln_c <= x[-1] + 1e-12)
        ln_loss[i, inside] = np.interp(ln_c[inside], x, smooth_loss(curve, width))
        ln_d[i, inside] = np.interp(ln_c[inside], x, np.log(curve.n_tokens))
    return ln_loss, ln_d


def _winners(ln_loss: Array, ln_n: Array) -> tuple[NDArray[np.int_], NDArray[np.bool_]]:
    """Return the winner (m,) of each bin, and whether a smaller and a larger size were beaten there."""
    winner = ln_loss.argmin(0)
    there = np.isfinite(ln_loss)
    smallest = np.where(there, ln_n[:, None], math.inf).min(0)
    largest = np.where(there, ln_n[:, None], -math.inf).max(0)
    return winner, (ln_n[winner] > smallest) & (ln_n[winner] < largest)


def _line(ln_c: Array, ln_n: Array, ln_d: Array, fitted: NDArray[np.bool_]) -> Array | None:
    """Return ln G_N, a, ln G_D, b of the fitted bins; None where they hold fewer than two sizes."""
    if len(np.unique(ln_n[fitted])) < 2:
        return None
    return np.concatenate(slopes(ln_c[fitted], np.stack([ln_n, ln_d])[:, fitted])).reshape(2, 2).T.ravel()


def _resample(
    curves: Sequence[TrainingCurve],
    ln_c: Array,
    ln_n: Array,
    ln_loss: Array,
    ln_d: Array,
    n: int,
    seed: int,
) -> Array:
    """Return the lines (R, 4) of those of n resamples of the clusters that have one."""
    labels = [curve.cluster or curve.run_id for curve in curves]
    label = np.unique(labels, return_inverse=True)[1]
    rng = np.random.default_rng((seed, 0))
    bins = np.arange(len(ln_c))
    lines = []
    for _ in range(n):
        drawn = rng.integers(label.max() + 1, size=label.max() + 1)
        rows = np.flatnonzero(np.isin(label, drawn))  # a curve drawn twice wins no more than once
        winner, fitted = _winners(ln_loss[rows], ln_n[rows])
        line = _line(ln_c, ln_n[rows][winner], ln_d[rows][winner, bins], fitted)
        if line is not None:
            lines.append(line)
    return np.array(lines).reshape(-1, 4)


def _doubts(
    curves: Sequence[TrainingCurve],
    ln_c: Array,
    ln_n: Array,
    winner: NDArray[np.int_],
    fitted: NDArray[np.bool_],
    a: Estimate,
    failed: float,
) -> list[str]:
    warnings = []
    n_sizes, n_inside = (len(np.unique(ln_n[w])) for w in (winner, winner[fitted]))
    if n_sizes < FEWEST_SIZES:
        warnings.append(f"{n_sizes} sizes only win anywhere: the envelope is a staircase of {n_sizes} steps")
    elif n_inside < FEWEST_SIZES:
        warnings.append(f"{n_inside} sizes only win between others: the exponent rests on {n_inside} steps")
    edge = 1 - fitted.mean()
    if edge > 0.5:
        warnings.append(
            f"{percent(edge)} of the bins are won by the smallest or largest size that got so far, and"
            " left out"
        )
    span = math.exp(np.ptp(ln_c[fitted]))
    if span < NARROW:
        warnings.append(f"the fitted envelope spans a factor of {span:.3g} in C only")
    flips = np.count_nonzero(np.diff(ln_n[winner]))
    if flips > FLIPS * (n_sizes - 1):
        warnings.append(
            f"the winning size changes {flips} times among {n_sizes} sizes: noise picks the winners, and that"
            " biases a, so smooth more"
        )
    warnings += _uncooled(curves, ln_c, winner, fitted)
    if failed > FAILED:
        warnings.append(f"{percent(failed)} of the resamples gave no exponent: the intervals are too short")
    low, high = a.interval
    if high - low > 2 * WIDE:
        warnings.append(f"a is hardly known: {low:.2f} to {high:.2f}")
    return warnings


def _uncooled(
    curves: Sequence[TrainingCurve], ln_c: Array, winner: NDArray[np.int_], fitted: NDArray[np.bool_]
) -> list[str]:
    known, hot = 0, 0
    for i in np.unique(winner[fitted]):
        at = ln_c[fitted & (winner == i)]
        mark = curves[i].hot
        if mark is not None:
            near = np.abs(np.log(curves[i].flops) - at[:, None]).argmin(1)
            known, hot = known + len(at), hot + int(mark[near].sum())
    total = int(fitted.sum())
    if known < total:
        return [f"nothing says whether {percent(1 - known / total)} of the fitted envelope was cooled down"]
    if hot:
        return [
            f"{percent(hot / total)} of the fitted envelope was measured before the rate came down: a"
            " constant rate biases approach 1"
        ]
    return []
