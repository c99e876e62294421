"""Claims 2 and 3: the best learning rate of LoRA against full fine-tuning's, and over ranks.

The best rate of a cell is the vertex of the parabola of ln loss in ln rate through the best rate that was
tried and its two neighbours. Its error has two parts: the noise of the seeds, pooled over all cells, and how
far the vertex moves where rates further out take part, because the curve is no parabola. Without second seeds
the noise is the scatter around wider parabolas (`rates.bowls.find_all`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.estimate import Estimate
from lora_jax.scaling.finetuning.claim_results import Band, Claim, judge
from lora_jax.scaling.finetuning.contrasts import SeedNoise
from lora_jax.scaling.finetuning.study_runs import MethodCell, Place, loss_of
from lora_jax.scaling.rates.bowls import (
    RateLosses,
    find_all,
    fit_parabola,
    fit_window,
    mean_losses,
    refuse_grid,
)
from lora_jax.scaling.rates.drifts import LEAST_ERROR, fit_line
from lora_jax.scaling.rates.noise import Noise
from lora_jax.scaling.rates.results import BestRate, Refusal

SHORT = 100  # steps: runs below it are short ones
LONG_RATIO, SHORT_RATIO = 10.0, 15.0  # as claimed
ABOUT = 2.0  # a factor: "about 10" is 5 to 20
MOST_DRIFT = 2.0
LEAST_RANKS = 3
BY_PARABOLAS = "parabolas of ln loss in ln rate: seeds, their shape, and scatter between cells"
EDGES = ("at the edge", "beside divergence")
NEAREST = 3  # rates of a parabola near the minimum


@dataclass(frozen=True)
class Vertex:
    """The best rate of a cell.

    Attributes:
        ln_rate: ln rate.
        error: Its standard error.
    """

    ln_rate: float
    error: float


Vertices = dict[MethodCell, Vertex | Refusal]


def claim_rates(cells: Sequence[MethodCell], noise: SeedNoise) -> Iterator[Claim]:
    """Return claim 2, of long runs and of short ones, and claim 3."""
    loras = [cell for cell in cells if cell.first.is_lora and cell.first.adapts == "all"]
    full = [cell for cell in cells if cell.first.is_full]
    of_lora, of_full = (find_vertices(group, noise) for group in (loras, full))
    yield _claim_ratio(of_lora, of_full, short=False)
    yield _claim_ratio(of_lora, of_full, short=True)
    yield _claim_drift(of_lora)


def find_vertices(cells: Sequence[MethodCell], seeds: SeedNoise) -> tuple[Vertices, int]:
    """Return the best rate of each cell, or why it has none, and the degrees of freedom of the noise."""
    grids = {i: _losses(cell) for i, cell in enumerate(cells)}
    if seeds.freedom:
        noise = Noise(seeds.sd, seeds.freedom, None)
        return {cell: _vertex(grids[i], noise) for i, cell in enumerate(cells)}, seeds.freedom
    found, noise = find_all(grids)
    return {cell: _plain(found[i]) for i, cell in enumerate(cells)}, noise.freedom


def _losses(cell: MethodCell) -> RateLosses:
    return RateLosses(
        np.log([run.learning_rate for run in cell.runs]),
        np.log([loss_of(run) for run in cell.runs]),
        np.array([run.seed for run in cell.runs], dtype=np.int64),
        cell.diverged,
    )


def _vertex(data: RateLosses, noise: Noise) -> Vertex | Refusal:
    refusal = refuse_grid(data)
    if refusal is not None:
        return refusal
    means = mean_losses(data)
    best = min(means, key=lambda rate: means[rate])
    near, wide = fit_parabola(data, best, 0.0, NEAREST), fit_window(data)
    if near.curvature <= 0 or near.interval(noise) is None:
        return Refusal(
            "lost in noise", "the loss rises on both sides by little more than the noise: add seeds."
        )
    moved = near.vertex - wide.vertex if wide.curvature > 0 else math.log(2)
    return Vertex(near.vertex, max(math.hypot(noise.sd * math.sqrt(near.variance()), moved), LEAST_ERROR))


def _plain(best: BestRate | Refusal) -> Vertex | Refusal:
    if isinstance(best, Refusal):
        return best
    assert best.rate.se is not None  # every vertex has one
    return Vertex(math.log(best.rate.value), max(best.rate.se, LEAST_ERROR))


def _claim_ratio(of_lora: tuple[Vertices, int], of_full: tuple[Vertices, int], short: bool) -> Claim:
    """Return claim 2 for the rank that has the most cells, so that no cell counts twice."""
    ratio = SHORT_RATIO if short else LONG_RATIO
    text = f"The best rate is about {ratio:g} times that of full fine-tuning" + (
        f" in runs below {SHORT} steps." if short else "."
    )
    band = Band(ratio / ABOUT, ratio * ABOUT)
    vertices = {cell: best for cell, best in of_lora[0].items() if (cell.first.n_steps < SHORT) == short}
    label = _commonest(vertices)
    full = {cell.place: best for cell, best in of_full[0].items()}
    pairs = [
        (best, full[cell.place])
        for cell, best in vertices.items()
        if cell.label == label and cell.place in full
    ]
    both = [(a, b) for a, b in pairs if isinstance(a, Vertex) and isinstance(b, Vertex)]
    measured = f"best rate of {label} over that of full fine-tuning" if label else "ratio of the best rates"
    n_at_edge = sum(_is_edge(a) or _is_edge(b) for a, b in pairs)
    values = [a.ln_rate - b.ln_rate for a, b in both]
    errors = [math.hypot(a.error, b.error) for a, b in both]
    value = _average(values, errors, max(of_lora[1], of_full[1]))
    if value is None:
        why = _say_missing([best for pair in pairs for best in pair], "No cell has LoRA and full fine-tuning")
        return _claim(2, text, measured, band, (None, why, 0, n_at_edge))
    return _claim(2, text, measured, band, (_exp(value), "", len(both), n_at_edge))


def _claim_drift(of_lora: tuple[Vertices, int]) -> Claim:
    """Return claim 3: the change of ln rate* along ln rank within places that have several ranks."""
    vertices, freedom = of_lora
    text = f"The best rate moves by less than a factor of {MOST_DRIFT:g} over the ranks."
    band = Band(1 / MOST_DRIFT, MOST_DRIFT)
    groups: dict[Place, list[tuple[MethodCell, Vertex]]] = {}
    for cell, best in vertices.items():
        if isinstance(best, Vertex):
            groups.setdefault(cell.place, []).append((cell, best))
    used = [group for group in groups.values() if len({cell.first.rank for cell, _ in group}) >= 2]
    points = [(cell, best, i) for i, group in enumerate(used) for cell, best in group]
    ranks = sorted({cell.first.rank for cell, _, _ in points})
    several = {cell for cell in vertices if sum(other.place == cell.place for other in vertices) > 1}
    n_at_edge = sum(_is_edge(vertices[cell]) for cell in several)
    if len(ranks) < LEAST_RANKS:
        why = _say_missing(
            [vertices[cell] for cell in several], f"Fewer than {LEAST_RANKS} ranks share a cell"
        )
        return _claim(
            3, text, "best rate at the highest rank over the lowest", band, (None, why, 0, n_at_edge)
        )
    x = np.log([cell.first.rank for cell, _, _ in points])
    design = np.column_stack(
        [x - x.mean(), *([float(i == k) for _, _, i in points] for k in range(len(used)))]
    )
    y = np.array([best.ln_rate for _, best, _ in points])
    line = fit_line(design, y, np.array([best.error for _, best, _ in points]), freedom)
    span = math.log(ranks[-1] / ranks[0])
    value = _exp(line.estimate(np.array([span] + [0.0] * len(used))))
    measured = f"best rate at rank {ranks[-1]} over that at rank {ranks[0]}"
    return _claim(3, text, measured, band, (value, "", len(points), n_at_edge))


def _claim(
    number: int, text: str, measured: str, band: Band, found: tuple[Estimate | None, str, int, int]
) -> Claim:
    value, why, n_cells, n_at_edge = found
    if value is None:
        return Claim(
            number, text, measured, "ratio", None, band, "not reachable at this scale", why, "", 0, n_at_edge
        )
    return Claim(
        number,
        text,
        measured,
        "ratio",
        value,
        band,
        judge(value, band),
        why,
        BY_PARABOLAS,
        n_cells,
        n_at_edge,
    )


def _average(values: Sequence[float], errors: Sequence[float], freedom: int) -> Estimate | None:
    if not values:
        return None
    line = fit_line(np.ones((len(values), 1)), np.array(values), np.array(errors), freedom)
    return line.estimate(np.ones(1))


def _commonest(vertices: Mapping[MethodCell, object]) -> str:
    """Return the method that has the most cells; the empty text where there is none."""
    labels = [cell.label for cell in vertices]
    return max(dict.fromkeys(labels), key=labels.count, default="")


def _say_missing(found: Sequence[Vertex | Refusal], none: str) -> str:
    """Return why no best rate is known, by the reasons of the cells."""
    kinds = [best.kind for best in found if isinstance(best, Refusal)]
    counts = ", ".join(f"{kind} in {kinds.count(kind)}" for kind in dict.fromkeys(kinds))
    return f"The best rate could not be told ({counts} cells)." if counts else f"{none}."


def _is_edge(best: Vertex | Refusal) -> bool:
    return isinstance(best, Refusal) and best.kind in EDGES


def _exp(value: Estimate) -> Estimate:
    """Return the exponential of a number; its standard error stays that of the logarithm."""
    return Estimate(math.exp(value.value), value.se, (math.exp(value.low), math.exp(value.high)))
