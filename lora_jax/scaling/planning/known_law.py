"""The law that a design starts from: a published one, or one that is fitted to the runs there are."""

from collections.abc import Mapping
from dataclasses import dataclass

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.intervals.difference import PUBLISHED_FITS
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laws import CHINCHILLA, find_law
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.tables.run_table import RunTable

DRAWS = 200
USUAL_NOISE = 0.01
ROUNDING = 1e-8  # of ln L: residuals of this size are rounding


@dataclass(frozen=True)
class KnownLaw:
    """A law with its parameters.

    Attributes:
        noise_sd: Standard deviation of ln L of one run.
        draws: Bootstrap draws of the parameters.
    """

    law: Law
    params: Mapping[str, float]
    noise_sd: float
    draws: Mapping[str, Array] | None = None


def published_law(name: str, noise_sd: float | None = None) -> KnownLaw:
    """Return the law of a published fit, such as "besiroglu".

    Args:
        name: A name of `PUBLISHED_FITS`.
        noise_sd: Standard deviation of ln L of one run. The default is 1 %.

    Raises:
        LoraJaxError: The name is unknown.
    """
    if name not in PUBLISHED_FITS:
        raise LoraJaxError(
            f"No published fit is called {name!r}{nearest(name, PUBLISHED_FITS)}: name one of these."
        )
    found = PUBLISHED_FITS[name]
    return KnownLaw(find_law(found.law), found.params, USUAL_NOISE if noise_sd is None else noise_sd)


def law_of_runs(table: RunTable, noise_sd: float | None = None) -> KnownLaw:
    """Fit Chinchilla's law to runs, and draw its parameters.

    Args:
        table: The runs.
        noise_sd: Standard deviation of ln L of one run. By default it is that of the residuals.

    Raises:
        LoraJaxError: No noise is given and the residuals leave none to plan for.
    """
    found = fit(CHINCHILLA, table)
    draws = bootstrap(found, DRAWS).params
    noise = found.problem.noise_sd(found.theta) if noise_sd is None else noise_sd
    if noise is None:
        raise LoraJaxError(
            f"{table.source} has as many runs as the law has parameters, so the noise is not known: give"
            " --noise."
        )
    if noise < ROUNDING:
        raise LoraJaxError(
            f"{CHINCHILLA.key} meets the runs of {table.source} to rounding, and leaves no noise to plan"
            " for: give --noise, such as 0.01 for 1 %."
        )
    return KnownLaw(CHINCHILLA, found.params, noise, draws)
