"""The capacity of every method that has ranks, against full fine-tuning."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from lora_jax.estimate import Estimate
from lora_jax.scaling.finetuning.capacity import KneeFit, fit_knee
from lora_jax.scaling.finetuning.methods import MethodRuns, split_methods
from lora_jax.scaling.finetuning.preparing import Prepared
from lora_jax.scaling.finetuning.ranked_losses import Ranks, rows_of_ranks
from lora_jax.scaling.finetuning.results import Capacity, Excess, Found, Knee, Solution
from lora_jax.scaling.tables.cells import levels
from lora_jax.scaling.tables.number_text import read_number
from lora_jax.scaling.tables.run_table import RunTable

RANK = "rank"
FULL = re.compile(r"\bfull\b", re.IGNORECASE)
RANK_IN_NAME = re.compile(r"[ _,-]*\b(?:rank|r)[ _=-]*\d+\b", re.IGNORECASE)
LEVEL = 0.05  # of the test of an excess at any rank
BEST: tuple[Found, ...] = ("identified", "extrapolated", "not identified", "none")
Losses = dict[tuple[float, float, float | None], list[float]]


def find_capacities(prepared: Prepared, by: Sequence[str], seed: int = 0) -> tuple[Capacity, ...]:
    """Return the capacity of every method that has several ranks, or () if the table has no ranks.

    Each rank and place takes part with its own best learning rate, unless that is at an edge of its grid.

    Args:
        prepared: The table.
        by: The columns that make a method.
        seed: Seed of the intervals.
    """
    table = prepared.table
    if RANK not in table.labels and RANK not in table.columns:
        return ()
    columns = [*by, *([] if RANK in by else [RANK])]
    methods = [m for m in split_methods(table, columns, prepared.letters) if not m.n_at_edge]
    full = next((m for m in methods if _rank_of(m.runs) is None and FULL.search(_family(m, by))), None)
    families: dict[str, list[MethodRuns]] = defaultdict(list)
    for method in methods:
        if _rank_of(method.runs) is not None:
            families[_family(method, by)].append(method)
    return tuple(_capacity(name, full, family, seed) for name, family in families.items() if len(family) > 1)


def _rank_of(table: RunTable) -> float | None:
    """Return the rank of a method's runs; None where it has none."""
    rank = read_number(table.labels[RANK][0]) if RANK in table.labels else float(table.columns[RANK][0])
    return rank if rank is not None and rank > 0 else None


def _family(method: MethodRuns, by: Sequence[str]) -> str:
    """Return a method's name without its rank."""
    table, words = method.runs, []
    for column in (c for c in by if c != RANK):
        words.append(table.labels[column][0] if column in table.labels else f"{table[column][0]:g}")
    return RANK_IN_NAME.sub("", ", ".join(words)).strip() or ", ".join(words)


def _capacity(name: str, full: MethodRuns | None, family: Sequence[MethodRuns], seed: int) -> Capacity:
    ranks = tuple(sorted({rank for m in family if (rank := _rank_of(m.runs)) is not None}))

    def nothing(why: str, against: str = "") -> Capacity:
        return Capacity(name, against, ranks, {}, (), (), None, "not identified", why)

    if full is None:
        return nothing("there are no runs of full fine-tuning, a method called full, to measure against")
    tables = [full.runs, *(m.runs for m in family)]
    if not all(table.has("F") for table in tables):
        return nothing("the table does not say the size of the fine-tuning set", full.name)
    losses: Losses = defaultdict(list)
    for table in tables:
        size = table.variable("N") if table.has("N") else np.ones(len(table))
        for f, n, loss in zip(table.variable("F"), size, table["loss"], strict=True):
            losses[_rounded(f), _rounded(n), _rank_of(table)].append(float(np.log(loss)))
    sizes = {n for _, n, _ in losses}
    found = rows_of_ranks(losses, len(sizes) > 1)
    if found is None or found.freedom < 1:
        return nothing("too few places have runs of several ranks and of full fine-tuning", full.name)
    if levels(np.exp(found.ln_f)).max() == 0:
        return nothing("all its runs have one F, and a capacity shows in how the excess grows", full.name)
    fit = fit_knee(found, seed)
    knees = _knees(fit, ranks, len(sizes) > 1) if fit.p < LEVEL else ()
    best = _best_of(knees)
    params = fit.params() if fit.p < LEVEL else {}
    return Capacity(
        name,
        full.name.removesuffix(", "),
        ranks,
        params,
        knees,
        _excesses(fit),
        fit.p,
        best,
        None if fit.p < LEVEL else "no rank's loss differs from full fine-tuning's by more than noise",
    )


def _rounded(x: float) -> float:
    """Return a size to four digits, which batch sizes may round otherwise."""
    return float(f"{x:.4g}")


def _places(ranks: Ranks) -> list[tuple[float, float]]:
    """Return the ln F and ln N that the rows have, each once."""
    pairs = {
        (float(f + ranks.centre[0]), float(n + ranks.centre[2]))
        for f, n in zip(ranks.ln_f, ranks.ln_n, strict=True)
    }
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


def _knees(fit: KneeFit, ranks: Sequence[float], by_size: bool) -> tuple[Knee, ...]:
    found = []
    for ln_f, ln_n in _places(fit.ranks):
        at = {"F": float(np.exp(ln_f))} | ({"N": float(np.exp(ln_n))} if by_size else {})
        knee = fit.knee(ln_f, ln_n)
        found.append(Knee(at, knee, _judge(knee, ranks)))
    return tuple(found)


def _judge(knee: Solution, ranks: Sequence[float]) -> Found:
    if knee.value is None or not ranks[0] <= knee.value <= ranks[-1]:
        return "extrapolated"
    return "identified" if knee.low is not None and knee.high is not None else "not identified"


def _best_of(knees: Sequence[Knee]) -> Found:
    """Return the most that may be said of the knee at any place."""
    for found in BEST:
        if any(knee.found == found for knee in knees):
            return found
    return "not identified"


def _excesses(fit: KneeFit) -> tuple[Excess, ...]:
    """Return what each rank's loss is above that of full fine-tuning, with the t interval of the noise."""
    ranks, fitted = fit.ranks, fit.excess
    t = float(stdtrit(ranks.freedom, 0.975))
    found = []
    for i in np.flatnonzero(~ranks.is_full):
        k = int(np.flatnonzero(ranks.is_full & (ranks.place == ranks.place[i]))[0])
        value = float(ranks.log_loss[i] - ranks.log_loss[k])
        se = fit.sd * float(np.sqrt(1 / ranks.weights[i] + 1 / ranks.weights[k]))
        at = {"F": float(np.exp(ranks.ln_f[i] + ranks.centre[0]))}
        if ranks.by_size:
            at["N"] = float(np.exp(ranks.ln_n[i] + ranks.centre[2]))
        rank = float(np.exp(ranks.ln_r[i] + ranks.centre[1]))
        found.append(
            Excess(at, rank, Estimate(value, se, (value - t * se, value + t * se)), float(fitted[i]))
        )
    return tuple(found)
