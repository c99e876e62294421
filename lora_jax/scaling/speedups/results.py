"""What `lora-jax speedup` finds, as types. Every field is the key of the same name in speedup.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lora_jax.estimate import Estimate

KIND, KIND_OF_CURVES = "speedup", "speedup of curves"
FORMAT = 2  # 1 did not say which numbers are infinite
UNLIMITED = 1e6
Why = Literal[
    "uncooled",
    "schedule",
    "selection",
    "unfinished search",
    "rate at an edge",
    "beyond the runs",
    "few points",
    "floor",
    "cut off",
    "counting",
    "held-out text",
    "lack of fit",
    "one run",
    "units",
    "pace",
    "table",
]


def spell_ratio(ratio: float, decimals: int = 3) -> str:
    """Return a ratio as text, with so many decimals, or in powers of ten from a thousand on."""
    return f"{ratio:.{decimals}f}" if ratio < 1000 else f"{ratio:.2g}"


def spell_ends(number: Estimate, decimals: int = 3) -> str:
    """Return the 95 % interval of a ratio as text. An end beyond a million times is no limit.

    Replicates whose law comes near the loss from above give ratios such as 1e44. No run stands behind these.
    """
    low, high = number.interval
    if low > UNLIMITED:
        return "no limit"
    if high > UNLIMITED:
        return f"{spell_ratio(low, decimals)} and up"
    return f"{spell_ratio(low, decimals)} to {spell_ratio(high, decimals)}"


@dataclass(frozen=True)
class Doubt:
    """Something that makes a comparison less than it seems.

    Attributes:
        name: Name of the trap.
        words: What it is here.
    """

    name: Why
    words: str

    def __str__(self) -> str:
        """Return both in one line."""
        return f"{self.name}: {self.words}"


@dataclass(frozen=True)
class RecipeFit:
    """The law of a recipe, or of one size of it.

    Attributes:
        recipe: The recipe's name.
        group: The size in words, "" where one law holds for all.
        n_rows: Rows that it was fitted to, one for each cell.
        params: Parameters with intervals.
        degrees_of_freedom: Rows less parameters.
        rms: The residuals' root mean square, of ln L.
        misfit: How far mean losses lie from the law beyond noise, where they do: sd of ln L. None where the
            rows are too few or too unlike to tell.
        misfit_chance: How probable it is that they do, by the residuals.
        warning: What structure the residuals have that the intervals do not include, if any.
    """

    recipe: str
    group: str
    n_rows: int
    params: Mapping[str, Estimate]
    degrees_of_freedom: int
    rms: float
    misfit: float | None
    misfit_chance: float | None
    warning: str | None


@dataclass(frozen=True)
class Point:
    """A speed-up at one place.

    Attributes:
        of: What is saved: "C", "D" or another variable.
        at: Where the recipe stands.
        loss: The loss that both reach.
        needed: What the baseline needs for it.
        speedup: What the baseline needs over what the recipe needs. An end of the interval may be inf.
        seconds: The same in seconds, or None.
        beyond: `needed` over the largest of the baseline's runs (of this size). Above 1 it is extrapolated.
        floors: The speed-up with the floor E lower and higher by `floor_step`, everything else refitted.
        measured: Whether the loss was measured at this place, or follows from the recipe's law.
    """

    of: str
    at: Mapping[str, float]
    loss: float
    needed: float
    speedup: Estimate
    seconds: Estimate | None
    beyond: float
    floors: tuple[float | None, float | None] | None
    measured: bool


@dataclass(frozen=True)
class RecipeSpeedup:
    """The speed-ups of one recipe over the baseline.

    Attributes:
        name: The recipe.
        n_rows: Its rows.
        fits: Its own laws. Empty if its losses were taken as measured.
        points: Its speed-ups.
    """

    name: str
    n_rows: int
    fits: tuple[RecipeFit, ...]
    points: tuple[Point, ...]


@dataclass(frozen=True)
class SpeedupReport:
    """Recipes against a baseline, by laws: speedup.json.

    Attributes:
        baseline: The recipe that the others are compared with.
        formula: The law.
        shared, fixed: Parameters that all fits share, and those that were held at a value.
        floor_step: By how much `Point.floors` moves the floor, in units of the loss.
        baseline_fits: Its laws, one for each size with `--each`.
        doubts: What makes the comparison less than it seems, by name.
        notes: What was done to the tables.
    """

    source: str
    command: str
    baseline: str
    formula: str
    loss_unit: str
    shared: tuple[str, ...]
    fixed: Mapping[str, float]
    floor_step: float
    baseline_fits: tuple[RecipeFit, ...]
    recipes: tuple[RecipeSpeedup, ...]
    doubts: tuple[Doubt, ...]
    notes: tuple[str, ...]
    kind: Literal["speedup"]
    format: int


@dataclass(frozen=True)
class CurveSpeedup:
    """One training curve against the baseline's.

    Attributes:
        last_step, last_loss, seconds: The end of the run. Seconds are None where nobody measured them.
        step, second: Where it reaches the loss, by linear interpolation. None if it never does.
        in_steps, in_seconds: What the baseline needs over what it needs. Without an interval where the noise
            between seeds is not given.
        loss_at_seconds: Its loss when the baseline's run has ended, by seconds.
    """

    name: str
    last_step: float
    last_loss: float
    seconds: float | None
    step: float | None
    second: float | None
    in_steps: Estimate | None
    in_seconds: Estimate | None
    loss_at_seconds: float | None


@dataclass(frozen=True)
class CurveReport:
    """Training curves against a baseline's: speedup.json with `--curves`.

    Attributes:
        loss: The loss that all are to reach.
        noise: The sd of the loss between seeds, if it was given.
        curves: The baseline first.
    """

    source: str
    command: str
    baseline: str
    loss: float
    loss_unit: str
    noise: float | None
    step_name: str
    curves: tuple[CurveSpeedup, ...]
    doubts: tuple[Doubt, ...]
    notes: tuple[str, ...]
    kind: Literal["speedup of curves"]
    format: int
