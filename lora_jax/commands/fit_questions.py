"""What the options of `lora-jax fit --law` ask: the law, how to fit it, and the questions to its fit."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lora_jax.commands.table_options import (
    load_table,
    parse_number,
    parse_numbers,
    parse_pairs,
    parse_printed,
)
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import QUANTITY, SERVED

if TYPE_CHECKING:
    from lora_jax.scaling.laws import Law
    from lora_jax.scaling.one_law import Questions
    from lora_jax.scaling.tables.table import RunTable


def needs_loss(arguments: argparse.Namespace) -> bool:
    """Return whether the table must have a loss: a power law of other columns needs none."""
    return arguments.law != "power" or "loss" in (arguments.response, *arguments.of) or "L" in arguments.of


def law_of(arguments: argparse.Namespace, table: "RunTable") -> "Law":
    """Return the law that is asked for; raises LoraJaxError for an unknown one."""
    from lora_jax.scaling.laws import any_power, find_law

    if arguments.law != any_power.NAME:
        return find_law(arguments.law)
    if arguments.response is None or not arguments.of:
        lacking = "--response" if arguments.response is None else "--of"
        raise LoraJaxError(
            f"--law power lacks {lacking}: name the column to predict and those that it depends on, as"
            " --response n_opt --of flops."
        )
    response = table.column_of(table.letter_of(arguments.response))
    return any_power.any_power(response, [table.letter_of(name) for name in arguments.of])


def questions_of(arguments: argparse.Namespace, law: "Law") -> "Questions":
    """Return how to fit, and what to ask."""
    from lora_jax.scaling.appraisal import REPLICATES as USUAL
    from lora_jax.scaling.one_law import Questions

    given, halves = parse_printed("--judge", arguments.judge) if arguments.judge else (None, {})
    rival, rival_at = _parse_crossover(arguments)
    return Questions(
        objective=_objective_of(arguments),
        delta=arguments.delta,
        fixed=parse_numbers("--fix", arguments.fix),
        bounds=_parse_bounds(arguments.bound),
        weights=arguments.weights,
        given=given,
        halves=halves,
        n_bootstrap=arguments.bootstrap or USUAL,
        seed=arguments.seed,
        predict=[parse_numbers("--predict", [text], QUANTITY) for text in arguments.predict],
        budgets=arguments.budget,
        serve=[_parse_serve(text) for text in arguments.serve],
        versus=[_parse_versus(text) for text in arguments.versus],
        rival=rival,
        rival_at=rival_at,
        compare=arguments.compare,
        figures=arguments.out is not None,
    )


def _parse_serve(text: str) -> tuple[float, float]:
    parts = text.split(",")
    if len(parts) != 2:
        raise LoraJaxError(f"--serve got {text!r}, it wants LOSS,TOKENS, such as 2.0,1e13.")
    loss = parse_number("--serve LOSS", parts[0], QUANTITY)
    return loss, parse_number("--serve TOKENS", parts[1], SERVED)


def _objective_of(arguments: argparse.Namespace) -> str | None:
    name, share = arguments.objective, arguments.quantile
    if share is None:
        return name
    if name != "quantile":
        raise LoraJaxError(f"--quantile {share:g} belongs to --objective quantile: name it, or leave it out.")
    return f"quantile({share!r})"


def _parse_bounds(texts: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    """Return {"c1": (0.0, 10.0), "E": (0.5, None)} of ["c1=0:10", "E=.5:"]."""
    found = {}
    for name, text in parse_pairs("--bound", texts, "c1=0:10").items():
        ends = [part.strip() for part in text.split(":")]
        if len(ends) != 2 or not any(ends):
            raise LoraJaxError(f"--bound {name} is {text!r}, it wants LOW:HIGH, of which one may be empty.")
        low, high = (parse_number(f"--bound {name}", end) if end else None for end in ends)
        found[name] = (low, high)
    return found


def _parse_versus(text: str) -> str | dict[str, float]:
    return parse_numbers("--versus", [text]) if "=" in text else text


def _parse_crossover(arguments: argparse.Namespace) -> "tuple[RunTable | None, dict[str, float]]":
    """Return the second table, read by the same options as the first, and the variables to hold."""
    if not arguments.crossover:
        return None, {}
    path, *held = arguments.crossover
    other = argparse.Namespace(**{**vars(arguments), "table": Path(path)})
    return load_table(other, needs_loss(arguments)), parse_numbers("--crossover", held, QUANTITY)
