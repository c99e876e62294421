"""How often intervals of laws of fine-tuning hold the truth, on simulated tables with 2 % noise.

Run as `python -m tests.scaling.finetuning.coverage [TABLES]`. docs/finetuning-laws.md has what it printed.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lora_jax.scaling.finetuning.capacities import find_capacities
from lora_jax.scaling.finetuning.capacity import fit_knee
from lora_jax.scaling.finetuning.crossings import Rival, cross_at
from lora_jax.scaling.finetuning.forms import forms_for
from lora_jax.scaling.finetuning.heldout import score_forms, splits_of
from lora_jax.scaling.finetuning.methods import split_methods
from lora_jax.scaling.finetuning.preparing import prepare
from lora_jax.scaling.finetuning.ranked_losses import rows_of_ranks
from lora_jax.scaling.finetuning.results import Solution
from lora_jax.scaling.joint.group_laws import GroupLaw, HowToFit, law_alone
from lora_jax.scaling.laws.finetuning import LAWS
from tests.scaling.finetuning.simulated import (
    CAPACITY,
    METHODS,
    F,
    N,
    make_ranks,
    make_runs,
    true_crossing,
)
from tests.scaling.near import fit_near

LAW = LAWS["finetuning-n"]
REPLICATES = 400
CROSSED = (N[0], N[1], N[2])  # where the crossing of full and lora lies inside the runs
KNEE_AT = (F[1], F[2], F[3])


@dataclass(frozen=True)
class Tally:
    """What is counted: `held` of `tables` intervals hold the truth, and of `told` what was said of each."""

    held: Counter[str]
    tables: Counter[str]
    told: Counter[str]

    def add(self, name: str, holds: bool, said: str = "") -> None:
        """Count one interval, and what was said of it."""
        self.tables[name] += 1
        self.held[name] += holds
        if said:
            self.told[f"{name}: {said}"] += 1


def holds(found: Solution, truth: float) -> bool:
    """Return whether an interval, which may be open, holds the truth."""
    return (found.low is None or found.low <= truth) and (found.high is None or truth <= found.high)


def truth_of(method: str) -> Mapping[str, float]:
    """Return the published parameters of a simulated method."""
    alpha, beta, e, top = METHODS[method]
    return {"E": e, "A": top * float(N[0] ** alpha * F[0] ** beta), "alpha": alpha, "beta": beta}


def laws_of(seed: int) -> list[tuple[str, GroupLaw, Rival]]:
    """Return the law of each method of one simulated table."""
    found = []
    for stream, method in enumerate(split_methods(make_runs(seed), ["method"], ["N", "F"])):
        answer = fit_near(LAW, method.cells, truth_of(method.name), "squared")
        law = law_alone(
            answer, HowToFit(LAW, n_bootstrap=REPLICATES, seed=seed), method.noise_of_cells, stream
        )
        found.append((method.name, law, Rival(method.name, law, method.cells)))
    return found


def of_laws(seed: int, tally: Tally) -> None:
    """Count the intervals of the parameters, and of the crossing of two methods."""
    laws = laws_of(seed)
    for name, law, _ in laws:
        for p in ("alpha", "beta", "E"):
            row = law.intervals[p]
            tally.add(f"{p} of {name}", row.low <= truth_of(name)[p] <= row.high)
    rivals = {name: rival for name, _, rival in laws}
    for n in CROSSED:
        found = cross_at(rivals["full"], rivals["lora"], {"N": float(n)}, (F[0], F[-1]), seed)
        inside = holds(found.finetune_tokens, true_crossing("full", "lora", n)) and found.found != "none"
        tally.add(f"F^c of full and lora at N = {n:.3g}", inside, found.found)


def of_knees(seed: int, tally: Tally, by_size: bool = False) -> None:
    """Count the intervals of the rank knee, at one size or with five sizes together."""
    sizes = N if by_size else N[2:3]
    table = make_ranks(seed, sizes=sizes)
    losses: dict[tuple[float, float, float | None], list[float]] = {}
    for i in range(len(table)):
        rank = float(table.labels["rank"][i] or 0) or None
        key = (float(table.variable("F")[i]), float(table.variable("N")[i]), rank)
        losses.setdefault(key, []).append(float(np.log(table["loss"][i])))
    ranks = rows_of_ranks(losses, by_size)
    assert ranks is not None
    found = fit_knee(ranks, seed)
    words = "five sizes" if by_size else "one size"
    for f in KNEE_AT:
        knee = found.knee(float(np.log(f)), float(np.log(N[2])))
        truth = (f / CAPACITY["c"]) ** (1 / CAPACITY["g"])
        closed = "closed" if knee.low is not None and knee.high is not None else "open"
        tally.add(f"knee at F = {f:.3g}, {words}", holds(knee, truth), closed)


def of_forms(seed: int, tally: Tally) -> None:
    """Count how often the true form is kept, and its predictions of unseen cells hold what was measured."""
    methods = split_methods(make_runs(seed), ["method"], ["N", "F"])
    forms = forms_for(["N", "F"], len(methods))
    scores, _ = score_forms(forms, methods, splits_of(methods, {"F": "F", "X": "N"}), seed)
    chosen = next(score for score in scores if score.chosen)
    tally.add("the form is the true one", chosen.formula == scores[0].formula, chosen.name)
    for held in scores[0].heldout:
        tally.add(f"a cell of the largest {held.what}", held.inside)


def of_nothing(seed: int, tally: Tally) -> None:
    """Count how often a knee is seen where no rank is ever too small: 5 % at most."""
    none = {"k": 0.0, "c": 1e5, "g": 1.0}
    prepared = prepare(make_ranks(seed, capacity=none, sizes=N[2:3]), "finetuning-n")
    (capacity,) = find_capacities(prepared, ["method"], seed)
    tally.add("no knee where there is none", not capacity.knees)


CASES: dict[str, Callable[[int, Tally], None]] = {
    "laws": of_laws,
    "knees": of_knees,
    "knees by size": lambda seed, tally: of_knees(seed, tally, True),
    "nothing": of_nothing,
    "forms": of_forms,
}
SHARE = {"knees by size": 0.2, "nothing": 0.2, "forms": 0.1}  # of the tables: these take longer


def simulate(case: str, tables: int, first: int = 0) -> Tally:
    """Return the tally of a case over so many tables."""
    tally = Tally(Counter(), Counter(), Counter())
    for seed in range(first, first + tables):
        CASES[case](seed, tally)
    return tally


def main() -> None:
    """Print the share of each interval that holds the truth."""
    tables = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for case in sys.argv[2:] or CASES:
        begun, n = time.time(), max(1, int(tables * SHARE.get(case, 1.0)))
        tally = simulate(case, n)
        print(f"{case}: {n} tables, {time.time() - begun:.0f} s", flush=True)
        for name, total in tally.tables.items():
            print(f"  {name:45} {tally.held[name] / total:.1%} of {total}", flush=True)
        for name, count in sorted(tally.told.items()):
            print(f"  {name:45} {count}", flush=True)


if __name__ == "__main__":
    main()
