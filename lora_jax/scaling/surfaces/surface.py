"""The best pair of rate and batch size of each size, and the power laws of the pairs: `analyse`."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.scaling.rates.drifts import LEAST_ERROR, fit_line
from lora_jax.scaling.rates.grids import RateRun, RunSeries, sort_runs
from lora_jax.scaling.rates.transfer import RateRuns
from lora_jax.scaling.surfaces.optima import find_laws, predict_pair
from lora_jax.scaling.surfaces.quadric import LEAST_POINTS, SurfaceLosses, mean_points
from lora_jax.scaling.surfaces.refusals import LEAST_VALUES
from lora_jax.scaling.surfaces.results import (
    FORMAT,
    BestPair,
    Surface,
    SurfaceRefusal,
    SurfaceReport,
    SurfaceSeries,
)
from lora_jax.scaling.surfaces.vertices import find_pairs

FLAT = 0.005  # of the least loss: what a change of rate or batch size may cost by default
BATCH = "batch"


def analyse(
    given: RateRuns, command: str, flat: float = FLAT, predict: Sequence[Mapping[str, float]] = ()
) -> SurfaceReport:
    """Return the best pair of every size, and the power laws of the pairs.

    Args:
        given: The runs.
        command: The command that asks, for the report.
        flat: The share of the least loss within which a rate or a batch size counts as good.
        predict: Sizes to predict the best pair at, each by "N" and "D".

    Raises:
        LoraJaxError: The runs have one rate or one batch size, or change something else whenever they change
            the rate, or a prediction lacks a size.
    """
    found = [_analyse_series(series, flat, predict) for series in sort_surfaces(given)]
    n_diverged = sum(run.diverged for run in given.runs)
    left_out = dict(given.left_out) | ({"diverged": n_diverged} if n_diverged else {})
    return SurfaceReport(
        source=given.source,
        command=command,
        rate_name=given.rate_name,
        batch_name=given.batch_name,
        loss_name=given.loss_name,
        flat=flat,
        n_runs=len(given.runs),
        left_out=left_out,
        series=tuple(found),
        warnings=(*given.warnings, *doubt_surfaces(given)),
        kind="surface",
        format=FORMAT,
    )


def sort_surfaces(given: RateRuns) -> tuple[RunSeries, ...]:
    """Return the series. The runs of all batch sizes of a size are one grid.

    Raises:
        LoraJaxError: The batch size is not known, or does not vary.
    """
    batches = {run.sizes.get(BATCH) for run in given.runs}
    if batches == {None}:
        raise LoraJaxError(
            f"{given.source} does not say the batch size of a run: add or map batch_size, or ask `lora-jax"
            " transfer` for the best rate alone."
        )
    if len(batches) < 2:
        (only,) = batches
        raise LoraJaxError(
            f"{given.source} has one batch size, {only:g}: give each size at least {LEAST_VALUES}, as by"
            ' over("optim.batch_size", [8, 16, 32]), or ask `lora-jax transfer` for the best rate alone.'
        )
    return tuple(_merge(series) for series in sort_runs(given.runs, given.source))


def _merge(series: RunSeries) -> RunSeries:
    cells: dict[tuple[float, ...], list[RateRun]] = {}
    for grid in series.grids:
        cells.setdefault(tuple(_sizes(grid[0]).values()), []).extend(grid)
    grids = tuple(tuple(cells[size]) for size in sorted(cells))
    return RunSeries(series.label, series.settings, series.follows, series.shared, grids)


def _sizes(run: RateRun) -> dict[str, float]:
    return {axis: size for axis, size in run.sizes.items() if axis != BATCH}


def _analyse_series(series: RunSeries, flat: float, predict: Sequence[Mapping[str, float]]) -> SurfaceSeries:
    data = {i: _losses_of(grid) for i, grid in enumerate(series.grids)}
    pairs = find_pairs(data, flat)
    noise, skew = pairs.noise, pairs.skew
    surfaces = tuple(_make_surface(grid, data[i], pairs.found[i]) for i, grid in enumerate(series.grids))
    freedom = max(1, noise.freedom)
    laws, missing = find_laws(surfaces, freedom, np.zeros((2, 2)) if skew is None else skew.covariance)
    predictions = () if laws is None else tuple(predict_pair(laws, at, surfaces) for at in predict)
    return SurfaceSeries(
        label=series.label,
        settings=series.settings,
        follows=series.follows,
        noise=None if math.isnan(noise.sd) else noise.sd,
        degrees_of_freedom=noise.freedom,
        skew=None if skew is None else (math.exp(skew.difference[0]), math.exp(skew.difference[1])),
        is_skewed=skew is not None and bool(skew.covariance.any()),
        surfaces=surfaces,
        ridge=_ridge(surfaces, freedom),
        laws=laws,
        missing=missing,
        predictions=predictions,
    )


def _losses_of(grid: Sequence[RateRun]) -> SurfaceLosses:
    done = [run for run in grid if run.loss is not None]
    return SurfaceLosses(
        np.log(_points(done)),
        np.log([run.loss or math.nan for run in done]),
        np.array([run.seed for run in done], dtype=np.int64),
        np.log(_points([run for run in grid if run.diverged])),
    )


def _points(runs: Sequence[RateRun]) -> np.ndarray:
    return np.array([(run.rate, run.sizes[BATCH]) for run in runs], dtype=np.float64).reshape(-1, 2)


def _make_surface(grid: Sequence[RateRun], data: SurfaceLosses, best: BestPair | SurfaceRefusal) -> Surface:
    means: dict[tuple[float, float], float] = {}
    if len(data.points):
        places, losses = mean_points(data)
        means = {_key(*at): math.exp(loss) for at, loss in zip(np.exp(places), losses, strict=True)}
    tried = sorted({_key(run.rate, run.sizes[BATCH]) for run in grid})
    first = grid[0]
    return Surface(
        sizes=_sizes(first),
        n_params=first.n_params,
        n_tokens=first.sizes.get("tokens"),
        rates=tuple(rate for rate, _ in tried),
        batches=tuple(batch for _, batch in tried),
        losses=tuple(means.get(at) for at in tried),
        n_runs=len(grid),
        n_diverged=sum(run.diverged for run in grid),
        best=best if isinstance(best, BestPair) else None,
        refusal=best if isinstance(best, SurfaceRefusal) else None,
    )


def _key(rate: float, batch: float) -> tuple[float, float]:
    """Return a pair as it is found again after its logarithms were taken."""
    return float(f"{rate:.9g}"), float(f"{batch:.9g}")


def _ridge(surfaces: Sequence[Surface], freedom: int) -> Estimate | None:
    """Return the mean power of the batch with which the best rate moves, over the sizes."""
    ridges = [surface.best.ridge for surface in surfaces if surface.best is not None]
    if not ridges:
        return None
    values = np.array([ridge.value for ridge in ridges])
    errors = np.array([max(ridge.se or 0.0, LEAST_ERROR) for ridge in ridges])
    if len(ridges) == 1:
        return ridges[0]
    return fit_line(np.ones((len(ridges), 1)), values, errors, freedom).estimate(np.ones(1))


def doubt_surfaces(given: RateRuns) -> list[str]:
    """Return what the runs cannot tell, whatever their losses are. This is known before they train.

    Raises:
        LoraJaxError: As `analyse` does.
    """
    words = []
    for series in sort_surfaces(given):
        few = [grid for grid in series.grids if _is_small(grid)]
        if few:
            words.append(
                f"{series.label}: {len(few)} of {len(series.grids)} sizes have fewer than {LEAST_POINTS}"
                f" pairs of rate and batch size, or fewer than {LEAST_VALUES} of either, and so no best one:"
                " cross at least 4 rates with 4 batch sizes."
            )
        sizes = {tuple(_sizes(grid[0]).values()) for grid in series.grids}
        if len(sizes) < 3:
            words.append(
                f"{series.label}: {len(sizes)} {'size is' if len(sizes) == 1 else 'sizes are'} too few for"
                " power laws: give at least 3."
            )
    return words


def _is_small(grid: Sequence[RateRun]) -> bool:
    pairs = {(run.rate, run.sizes[BATCH]) for run in grid}
    counts = [len({pair[k] for pair in pairs}) for k in (0, 1)]
    return len(pairs) < LEAST_POINTS or min(counts) < LEAST_VALUES
