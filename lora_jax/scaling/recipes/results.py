"""What `lora-jax ablation` finds, as types. Every field is the key of the same name in ablation.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lora_jax.estimate import Estimate
from lora_jax.scaling.fitting.lack_of_fit import LackOfFit
from lora_jax.scaling.verdict import Verdict

KIND = "ablation"
FORMAT = 1
Cut = Literal["tokens", "params"]
VARIABLES: dict[Cut, str] = {"tokens": "D", "params": "N"}
CUTS_OF: dict[Cut, str] = {"tokens": "shortest runs", "params": "smallest models"}


@dataclass(frozen=True)
class CutFit:
    """The law fitted again without the shortest runs, or without the smallest models.

    Attributes:
        cut: What was left out.
        least: The least D, or N, that was kept.
        n_cells: Cells of equal N and D that were kept.
        misfit: How far they lie off the law that is fitted to them.
    """

    cut: Cut
    least: float
    n_cells: int
    misfit: LackOfFit


@dataclass(frozen=True)
class RecipeFit:
    """A law on the runs of one recipe.

    Attributes:
        label: What sets the recipe apart from the others, in words.
        settings: Every setting that differs between the recipes.
        n_runs, n_cells: Its runs, and their cells of equal N and D.
        n_rates: Rates of a cell, at most. Of several rates the best is kept.
        params: The law's parameters with their intervals.
        misfit: How far the runs lie off the law. None if no degree of freedom is left.
        largest: The loss of the largest cell that all recipes have, with the interval of the noise between
            seeds. It has none without seeds.
        cuts: The same law on a smaller range. The first of each kind keeps everything.
        residuals: ln of measured over fitted loss, the mean of each cell, as (N, D, residual).
        verdict: Whether to believe the fit. None without one.
        missing: Why there is no fit, or None.
    """

    label: str
    settings: Mapping[str, str]
    n_runs: int
    n_cells: int
    n_rates: int
    params: Mapping[str, Estimate]
    misfit: LackOfFit | None
    largest: Estimate | None
    cuts: tuple[CutFit, ...]
    residuals: tuple[tuple[float, float, float], ...]
    verdict: Verdict | None
    missing: str | None


@dataclass(frozen=True)
class AblationReport:
    """One law on every recipe of a sweep: ablation.json.

    Attributes:
        law: The law's name, as `lora-jax laws` has it.
        formula: The law.
        loss_name: What "loss" is.
        n_column: The column that N is.
        largest_cell: N and D of the largest cell that all recipes have. None if they share no cell.
        recipes: The one with the most runs first; it is what the others are compared with.
    """

    source: str
    command: str
    law: str
    formula: str
    loss_name: str
    n_column: str
    n_runs: int
    largest_cell: tuple[float, float] | None
    recipes: tuple[RecipeFit, ...]
    warnings: tuple[str, ...]
    kind: Literal["ablation"]
    format: int
