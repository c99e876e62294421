"""The claims of "LoRA Without Regret" (Schulman et al. 2025), measured on the runs of a study.

Two claims are not here. Claim 7 is not about runs. Claim 9 is exact, and `tests/peft/test_lora.py` holds it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from lora_jax.estimate import Estimate
from lora_jax.percent import percent
from lora_jax.scaling.finetuning.claim_results import Band, Claim, Scale, judge
from lora_jax.scaling.finetuning.contrasts import Contrast, SeedNoise, mean_contrast, pool_seed_noise
from lora_jax.scaling.finetuning.early_curves import claim_early
from lora_jax.scaling.finetuning.rate_claims import claim_rates
from lora_jax.scaling.finetuning.study_runs import MethodCell, Place, StudyRun, cells_of

MARGIN = 0.01  # of ln loss: less is no difference, as between variants of LoRA whose rates are tuned
EQUAL_PARAMETERS = math.log(1.5)  # of ln of the trainable parameters: nearer is called equal
SMALL = 0.1  # of the base's weights: adapters that have more are not a little more
BY_SEEDS = "seeds (pooled over cells), scatter between cells, test windows paired"


@dataclass(frozen=True)
class Asked:
    """A part of a claim before it is measured."""

    number: int
    claim: str
    measured: str
    band: Band
    scale: Scale = "percent"


def make_claims(runs: Sequence[StudyRun], folder: Path | None) -> tuple[Claim, ...]:
    """Return what the runs of one task say about the claims.

    Args:
        runs: The runs.
        folder: The results folder, whose curves claim 4 reads. None without curves.
    """
    cells = cells_of(runs)
    noise = pool_seed_noise(cells)
    found = [
        *claim_capacity(cells, noise),
        *claim_rates(cells, noise),
        claim_early(cells, folder),
        *claim_batches(cells, noise),
        *claim_targets(cells, noise),
        claim_flops(cells),
    ]
    return tuple(sorted(found, key=lambda claim: claim.number))


def claim_capacity(cells: Sequence[MethodCell], noise: SeedNoise) -> Iterator[Claim]:
    """Claim 1: LoRA is full fine-tuning below its capacity, and low ranks leave the curve first."""
    asked = Asked(
        1,
        "At a rank that is high enough, LoRA reaches the loss of full fine-tuning.",
        "loss at the highest rank over that of full fine-tuning",
        Band(-MARGIN, MARGIN),
    )
    loras = [cell for cell in cells if _is_plain_lora(cell)]
    highest = max((cell.first.rank for cell in loras), default=0)
    by_place = _by_place(cells)
    contrasts = [
        Contrast(((1.0, cell), (-1.0, full)))
        for cell in loras
        if cell.first.rank == highest
        for full in by_place.get(cell.place, ())
        if full.first.is_full
    ]
    yield measure(asked, contrasts, noise, "No cell has LoRA and full fine-tuning.")
    asked = Asked(
        1,
        "A low rank leaves that curve before a high one.",
        "loss at the lowest rank over that at the highest, at the largest set",
        Band(0.0, None),
    )
    largest = max((cell.place.n_train for cell in cells), default=0)
    contrasts = []
    for place, group in by_place.items():
        ranks = sorted((c for c in group if _is_plain_lora(c)), key=lambda c: c.first.rank)
        if place.n_train == largest and len({c.first.rank for c in ranks}) > 1:
            contrasts.append(Contrast(((1.0, ranks[0]), (-1.0, ranks[-1]))))
    yield measure(asked, contrasts, noise, "No cell of the largest set has two ranks.")


def claim_batches(cells: Sequence[MethodCell], noise: SeedNoise) -> Iterator[Claim]:
    """Claim 5: a large batch costs LoRA more than full fine-tuning, whatever the rank."""
    more, ranks = [], []
    by_place = _by_place(cells)
    for (small, few), (large, many) in product(by_place.items(), repeat=2):
        if not (few and _same_but_batch(small, large) and small.batch_size < large.batch_size):
            continue
        full = _penalties(few, many, lambda cell: cell.first.is_full)
        loras = sorted(_penalties(few, many, _is_plain_lora), key=lambda pair: pair[0].first.rank)
        if full and loras:
            share = 1 / len(loras)
            terms = [(share * sign, cell) for pair in loras for sign, cell in _difference(pair)]
            more.append(Contrast((*terms, *((-sign, cell) for sign, cell in _difference(full[0])))))
        if len(loras) > 1:
            lowest = ((-sign, cell) for sign, cell in _difference(loras[0]))
            ranks.append(Contrast((*_difference(loras[-1]), *lowest)))
    none = "No method was trained with two batch sizes on one set."
    asked = Asked(
        5,
        "A large batch costs LoRA more than full fine-tuning.",
        "what the larger batch adds to LoRA's loss, over what it adds to full fine-tuning's",
        Band(0.0, None),
    )
    yield measure(asked, more, noise, none)
    asked = Asked(
        5,
        "That cost does not depend on the rank.",
        "what the larger batch adds at the highest rank, over what it adds at the lowest",
        Band(-MARGIN, MARGIN),
    )
    yield measure(asked, ranks, noise, none)


def claim_targets(cells: Sequence[MethodCell], noise: SeedNoise) -> Iterator[Claim]:
    """Claim 6: attention alone is worse than the MLP alone at equal parameters. The MLP is as good as all."""
    attention, whole = [], []
    for group in _by_place(cells).values():
        of_mlp = [cell for cell in group if cell.first.is_lora and cell.first.adapts == "MLP"]
        of_attention = [cell for cell in group if cell.first.is_lora and cell.first.adapts == "attention"]
        of_all = [cell for cell in group if _is_plain_lora(cell)]
        attention += [
            Contrast(((1.0, other), (-1.0, cell)))
            for cell, other in product(of_mlp, of_attention)
            if abs(_size_ratio(cell, other)) < EQUAL_PARAMETERS
        ]
        for cell in of_mlp if of_all else ():
            nearest = min(of_all, key=lambda other: abs(_size_ratio(cell, other)))
            whole.append(Contrast(((1.0, cell), (-1.0, nearest))))
    asked = Asked(
        6,
        "Attention alone is worse than the MLP alone at equal parameters.",
        "loss with attention alone over that with the MLP alone",
        Band(0.0, None),
    )
    found = measure(asked, attention, noise, "No cell has both at equal parameters.")
    if found.value is not None:
        more = math.exp(float(np.mean([_size_ratio(c.terms[0][1], c.terms[1][1]) for c in attention])))
        found = replace(found, why=f"Attention alone has {more:.2f} times the parameters.")
    yield found
    ranks = {(one.label, two.label) for (_, one), (_, two) in (c.terms for c in whole)}
    named = "; ".join(f"{one} and {two}" for one, two in sorted(ranks))
    asked = Asked(
        6,
        "The MLP alone is as good as all matrices.",
        f"loss with the MLP alone over that with all matrices{f' ({named})' if named else ''}",
        Band(None, MARGIN),
    )
    yield measure(asked, whole, noise, "No cell has the MLP alone and all matrices.")


def claim_flops(cells: Sequence[MethodCell]) -> Claim:
    """Claim 8: a step of LoRA takes two thirds of the FLOPs of full fine-tuning, and a little more.

    We count the FLOPs, so there is no error. The ends are the least and the most over the cells. By the count
    of its parameters P, a rank adds P / N, where N includes the output head.
    """
    loras = [cell.first for cell in cells if _is_plain_lora(cell)]
    asked = Asked(
        8,
        "A step of LoRA takes two thirds of the FLOPs of a full one, and what its own parameters add.",
        "FLOPs of a step over those of full fine-tuning, less P / N",
        Band(2 / 3 - 0.05, 2 / 3 + 0.05),
        "share",
    )
    few = [run for run in loras if run.finetuning.n_trainable <= SMALL * run.n_params_with_head]
    if not few:
        why = (
            f"Every LoRA trains more than {percent(SMALL)} of the base's weights."
            if loras
            else ("No run adapts every matrix by LoRA.")
        )
        return _missing(asked, why, 0)
    n_large, loras = len(loras) - len(few), few
    shares = [
        run.finetuning.flops_share - run.finetuning.n_trainable / run.n_params_with_head for run in loras
    ]
    value = Estimate(float(np.mean(shares)), None, (min(shares), max(shares)))
    raw = [run.finetuning.flops_share for run in loras]
    left_out = (
        f" {n_large} cells are left out: they train more than {percent(SMALL)} of N." if n_large else ""
    )
    return Claim(
        asked.number,
        asked.claim,
        asked.measured,
        asked.scale,
        value,
        asked.band,
        judge(value, asked.band),
        f"With P / N the shares are {min(raw):.3f} to {max(raw):.3f}.{left_out}",
        "counted: the least and the most over the cells",
        len(loras),
        0,
    )


def measure(asked: Asked, contrasts: Sequence[Contrast], noise: SeedNoise, none: str) -> Claim:
    """Measure a part of a claim from contrasts of ln loss. Contrasts at an edge take no part.

    Args:
        asked: The part of the claim.
        contrasts: The contrasts.
        noise: The noise between seeds.
        none: What to say if there are no contrasts.
    """
    inside = [contrast for contrast in contrasts if not contrast.at_edge]
    n_at_edge = len(contrasts) - len(inside)
    value = mean_contrast(inside, noise)
    if value is None:
        why = none
        if inside:
            why = "There is one cell and no second seed, so that nothing tells the error."
        elif contrasts:
            why = f"A best rate is at the edge of its grid in {_all_of(n_at_edge)}."
        return _missing(asked, why, n_at_edge)
    return Claim(
        asked.number,
        asked.claim,
        asked.measured,
        asked.scale,
        value,
        asked.band,
        judge(value, asked.band),
        "",
        BY_SEEDS if noise.freedom else "scatter between cells, test windows paired",
        len(inside),
        n_at_edge,
    )


def _all_of(n: int) -> str:
    return "the only cell that could tell" if n == 1 else f"all {n} cells that could tell"


def _missing(asked: Asked, why: str, n_at_edge: int) -> Claim:
    return Claim(
        asked.number,
        asked.claim,
        asked.measured,
        asked.scale,
        None,
        asked.band,
        "not reachable at this scale",
        why,
        "",
        0,
        n_at_edge,
    )


def _is_plain_lora(cell: MethodCell) -> bool:
    """Return whether a method is LoRA of every matrix."""
    return cell.first.is_lora and cell.first.adapts == "all"


def _by_place(cells: Sequence[MethodCell]) -> dict[Place, list[MethodCell]]:
    found: dict[Place, list[MethodCell]] = {}
    for cell in cells:
        found.setdefault(cell.place, []).append(cell)
    return found


def _same_but_batch(one: Place, other: Place) -> bool:
    return (one.base, one.n_train) == (other.base, other.n_train)


def _penalties(
    few: Sequence[MethodCell], many: Sequence[MethodCell], wanted: Callable[[MethodCell], bool]
) -> list[tuple[MethodCell, MethodCell]]:
    """Return the cells of each wanted method that was trained with both batches."""
    return [(one, other) for one, other in product(few, many) if one.label == other.label and wanted(one)]


def _difference(pair: tuple[MethodCell, MethodCell]) -> tuple[tuple[float, MethodCell], ...]:
    return (1.0, pair[1]), (-1.0, pair[0])


def _size_ratio(one: MethodCell, other: MethodCell) -> float:
    return math.log(one.first.finetuning.n_trainable / other.first.finetuning.n_trainable)
