"""A recipe: the runs of one way to train, one row for each cell, and what is known about the training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.speedups.settings import Settings, settings_of
from lora_jax.scaling.tables.best_rows import NOT_BEST
from lora_jax.scaling.tables.cells import (
    RateGrid,
    SeedNoise,
    average_seeds,
    cell_of,
    seed_noise,
    settle_learning_rates,
)
from lora_jax.scaling.tables.last_steps import find_steps
from lora_jax.scaling.tables.provenance import convention_of
from lora_jax.scaling.tables.run_table import RunTable


@dataclass(frozen=True)
class Recipe:
    """The runs of one way to train.

    Attributes:
        name: What answers call it.
        runs: The runs, one learning rate for each cell and seed.
        table: A row for each cell: the geometric mean over its seeds.
        seeds: Runs behind each row of `table` (n,).
        noise: The noise between seeds.
        grids: The grids of learning rates that the runs were chosen from.
        tried: How many runs a row was chosen from as the best, on average. 1 where there was no choice.
        settings: How the runs were trained, as far as anybody says.
    """

    name: str
    runs: RunTable
    table: RunTable
    seeds: np.ndarray
    noise: SeedNoise
    grids: tuple[RateGrid, ...]
    tried: float
    settings: Settings

    @property
    def noise_of_rows(self) -> SeedNoise:
        """The noise of a row of `table`, a mean over seeds, by what seeds differ by."""
        if self.noise.sd is None:
            return self.noise
        return replace(self.noise, sd=self.noise.sd * float(np.sqrt(np.mean(1 / self.seeds))))


def make_recipe(name: str, table: RunTable, path: Path | None = None) -> Recipe:
    """Make a recipe of its runs.

    Args:
        name: Its name.
        table: The runs.
        path: Where they come from. The records of a results folder say more than its table.

    Raises:
        LoraJaxError: The rows are steps of runs and not runs.
    """
    steps = find_steps(table)
    if steps is not None:
        raise LoraJaxError(
            f"{table.source} has several steps of one run ({steps.order}), and a curve of one run is no law:"
            " its losses on the way are uncooled. Compare within the curves by --curves, or keep the ends by"
            " --last-step-per-run."
        )
    if len(table) == 0:
        raise LoraJaxError(f"{table.source} has no runs of {name}: choose others.")
    grids: tuple[RateGrid, ...] = ()
    settled, rows, seeds, noise = table, table, np.ones(len(table)), SeedNoise(None, 0, 0)
    if table.has("N") and table.has("D"):
        settled, found = settle_learning_rates(table)
        grids, noise = found.grids, seed_noise(settled)
        rows = average_seeds(settled)
        seeds = np.bincount(cell_of(settled)).astype(float)
    return Recipe(
        name, settled, rows, seeds, noise, grids, _count_tried(settled, grids), settings_of(settled, path)
    )


def _count_tried(settled: RunTable, grids: Sequence[RateGrid]) -> float:
    gone = sum(out.reason == NOT_BEST for out in settled.left_out)
    if gone:
        return 1 + gone / len(settled)
    # grids in some cells alone are a check, of which no best is kept
    return float(np.mean([len(grid.rates) for grid in grids])) if len(grids) >= len(settled) else 1.0


def refuse_unlike(first: Recipe, second: Recipe) -> None:
    """Refuse two recipes whose losses or whose N are not the same thing.

    Raises:
        LoraJaxError: They are not.
    """
    a, b = first.runs, second.runs
    names = f"{first.name} and {second.name}"
    if a.loss_unit != b.loss_unit:
        raise LoraJaxError(
            f"{names} have losses in {a.loss_unit} and in {b.loss_unit}: read both in one unit, by"
            " --loss-unit."
        )
    if first.settings.vocabularies and second.settings.vocabularies and a.loss_unit != "bits per byte":
        mine, other = first.settings.vocabularies, second.settings.vocabularies
        if mine != other:
            raise LoraJaxError(
                f"{names} have other tokenizers ({_list(mine)}; {_list(other)}), so their losses per token"
                " are not of the same thing: compare bits per byte, by --loss-unit bpb."
            )
    if a.has("N") and b.has("N"):
        ways = [convention_of(t, t.n_column) for t in (a, b)]
        if None not in ways and ways[0] != ways[1]:
            raise LoraJaxError(
                f"{names} count N otherwise ({ways[0]}; {ways[1]}): name the same count by --n-column."
            )
    cooled = [s.settings.cooled for s in (first, second)]
    if sorted(cooled, key=str) == [0.0, 1.0]:
        lacking = first.name if cooled[0] == 0 else second.name
        raise LoraJaxError(
            f"No run of {lacking} was cooled down and every run of the other was: an uncooled loss is higher"
            " by the cooldown alone, so this is no comparison. Train both with one schedule."
        )
    low = max(a["loss"].min(), b["loss"].min())
    if low > min(a["loss"].max(), b["loss"].max()):
        raise LoraJaxError(
            f"{names} have no loss in common ({_span(a)}; {_span(b)}): there is none that both reach. Add"
            " larger runs of the worse one, or smaller runs of the better."
        )


def _list(words: frozenset[str]) -> str:
    return ", ".join(sorted(words)[:3])


def _span(table: RunTable) -> str:
    return f"{table['loss'].min():.4g} to {table['loss'].max():.4g}"
