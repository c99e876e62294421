"""How recipes are compared, and the law if none is named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.joint.group_laws import HowToFit
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.laws.law import Law
from lora_jax.scaling.laws.power import power_law
from lora_jax.scaling.speedups.floors import STEP
from lora_jax.scaling.speedups.recipes import Recipe


@dataclass(frozen=True)
class Question:
    """How recipes are compared.

    Attributes:
        law: The law. None takes L(N,D), or L(D) with a floor where all runs have one N.
        objective: What a fit minimises. None takes the squares of ln residuals.
        shared: Parameters that all fits share, such as the floor E.
        fixed: Parameters that are held at a value.
        each: A column: the baseline has a law of one variable for each of its values, and the losses of the
            others are taken as measured.
        of: The variable of that law.
        measured: Whether the losses of the others are taken as measured, not from laws of their own.
        seconds: A column of seconds, or a formula of one.
        unfinished: A column that counts the runs that a search lacks.
        floor_step: By how much `Point.floors` moves the floors.
        n_bootstrap: Replicates.
        seed: Seed of the draws.
    """

    law: Law | None = None
    objective: str | None = None
    shared: tuple[str, ...] = ()
    fixed: Mapping[str, float] = field(default_factory=dict)
    each: str | None = None
    of: str = "D"
    measured: bool = False
    seconds: str | None = None
    unfinished: str | None = None
    floor_step: float = STEP
    n_bootstrap: int = 2000
    seed: int = 0


def how_to_fit(everybody: Sequence[Recipe], question: Question) -> HowToFit:
    law = question.law or _usual_law(everybody, question)
    law.check_names(question.shared)
    law.check_names(question.fixed)
    if question.each is not None and len(law.variables) != 1:
        raise LoraJaxError(
            f"{law.key} has the variables {', '.join(law.variables)}, and --each fits a law of one to each"
            " group: choose one such as power-d-floor."
        )
    if len(law.variables) > 1 and set(law.variables) != {"N", "D"}:
        raise LoraJaxError(
            f"{law.key} has the variables {', '.join(law.variables)}: recipes are compared by a law of N and"
            " D, or of one variable."
        )
    return HowToFit(
        law, question.objective, question.shared, question.fixed, question.n_bootstrap, question.seed
    )


def _usual_law(everybody: Sequence[Recipe], question: Question) -> Law:
    if question.each is not None:
        return power_law(question.of, irreducible=True)
    lacking = next((r for r in everybody for v in "ND" if not r.table.has(v)), None)
    if lacking is not None:
        raise LoraJaxError(
            f"{lacking.table.source} has no N or no D for L(N,D): map them by --map, or name a law of one"
            " variable by --law, or groups by --each."
        )
    sizes = [np.unique(np.round(np.log(r.table.variable("N")), 4)) for r in everybody]
    single = [r for r, size in zip(everybody, sizes, strict=True) if len(size) == 1]
    if not single:
        return CHINCHILLA
    if len(single) == len(everybody) and len(np.unique(np.concatenate(sizes))) == 1:
        return power_law("D", irreducible=True)
    n = float(single[0].table.variable("N")[0])
    raise LoraJaxError(
        f"{single[0].name} has one size only, N = {n:.4g}, so how its speed-up changes with scale cannot be"
        " told: add sizes, or compare the runs of one size by --where, or size by size by --each N."
    )
