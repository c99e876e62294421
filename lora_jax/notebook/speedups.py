"""`lora_jax.speedup`: what one recipe saves over another at equal loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_jax.notebook.fitting import as_table
from lora_jax.notebook.showing import show
from lora_jax.scaling.laws import find_law
from lora_jax.scaling.speedups.question import Question
from lora_jax.scaling.speedups.recipes import make_recipe
from lora_jax.scaling.speedups.results import Doubt, Point, SpeedupReport
from lora_jax.scaling.speedups.speedup import compare_recipes
from lora_jax.scaling.tables.table import RunTable
from lora_jax.scaling.verdict import verdict_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = ("baseline", "recipe")


@dataclass(frozen=True)
class RecipeComparison:
    """What a recipe saves over a baseline. A notebook shows it as tables, with the traps.

    Attributes:
        report: Everything that was found.
    """

    report: SpeedupReport

    @property
    def points(self) -> tuple[Point, ...]:
        """The speed-ups, each with its place and its interval."""
        return tuple(point for recipe in self.report.recipes for point in recipe.points)

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """The traps, each with its name."""
        return self.report.doubts

    def plot(self) -> "Figure | None":
        """Draw the speed-ups against scale. None if there is nothing to draw."""
        from lora_jax.report.speedup.plots import plot_speedups

        return plot_speedups(self.report)

    def __repr__(self) -> str:
        from lora_jax.report.speedup.conclusions import summarise

        return f"RecipeComparison({' '.join(summarise(self.report))})"

    def _repr_html_(self) -> str:
        from lora_jax.report.speedup.conclusions import summarise
        from lora_jax.report.speedup.rows import fit_rows, speedup_rows

        verdict = verdict_of(list(map(str, self.doubts)))
        return show(verdict, summarise(self.report), [speedup_rows(self.report), fit_rows(self.report)])


def speedup(
    baseline: RunTable | str | Path,
    recipe: RunTable | str | Path,
    *,
    law: str | None = None,
    shared: Sequence[str] = (),
    fixed: Mapping[str, float] | None = None,
    measured: bool = False,
) -> RecipeComparison:
    """Compare two recipes: how much more compute and how many more tokens the baseline needs for equal loss.

    Recipe A is the baseline. At equal loss the function gives C_A / C_B, with each recipe on its own
    compute-optimal frontier. At equal N and loss it gives D_A / D_B. If both have one law with a floor E and
    an exponent alpha, a ratio of losses at equal C becomes ((L_A - E) / (L_B - E))^(1 / alpha).

    Args:
        baseline: Runs of recipe A: a file, a results folder, or what `read_table` returns.
        recipe: Runs of recipe B.
        law: The name of the law that is fitted to each recipe. The default is Chinchilla's, or L(D) with a
            floor if all runs have one N.
        shared: Parameters that both laws share, such as ("E",) if data and tokenizer are the same.
        fixed: Parameters to hold at a value, such as {"E": 1.7}.
        measured: Whether to take the losses of `recipe` as measured, without a law of its own.

    Returns:
        The speed-ups at several scales, each with a 95 % interval, and doubts about traps of such a
        comparison.

    Raises:
        LoraJaxError: The recipes cannot be compared, for example because only one of them was cooled down.
    """
    tables = [as_table(table) for table in (baseline, recipe)]
    names = [
        t.name if isinstance(t, Path) else t if isinstance(t, str) else n
        for t, n in zip((baseline, recipe), NAMES, strict=True)
    ]
    paths = [None if isinstance(t, RunTable) else Path(t) for t in (baseline, recipe)]
    made = [make_recipe(n, t, p) for n, t, p in zip(names, tables, paths, strict=True)]
    question = Question(
        law=None if law is None else find_law(law),
        shared=tuple(shared),
        fixed=dict(fixed or {}),
        measured=measured,
    )
    return RecipeComparison(compare_recipes(made[0], made[1:], question, "lora_jax.speedup"))
