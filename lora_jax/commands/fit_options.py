"""The options of `lora-jax fit --law`: how to fit, what to ask, and what has no part elsewhere."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.number_options import add_number
from lora_jax.commands.table_options import (
    load_table,
    parse_number,
    parse_numbers,
    parse_pairs,
    parse_printed,
)
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import HUBER, PROPER_SHARE, QUANTITY, REPLICATES, SEED, SERVED, Range

if TYPE_CHECKING:
    from lora_jax.scaling.laws import Law
    from lora_jax.scaling.one_law import Questions
    from lora_jax.scaling.tables.table import RunTable

OF_A_TABLE = (
    "map",
    "where",
    "drop_worst",
    "cluster",
    "keep_uncooled",
    "last_step_per_run",
    "best_per_cell",
    "wide",
    "n_column",
    "flops_column",
    "bootstrap",
    "seed",
)
# how a law is fitted, and what is asked of it alone
OF_A_LAW = (
    "by",
    "response",
    "of",
    "objective",
    "quantile",
    "delta",
    "fix",
    "bound",
    "judge",
    "weights",
    "predict",
    "serve",
    "versus",
    "compare",
    "crossover",
    "target",
)
OF_APPROACHES = ("budget",)  # asked of a law, and of approaches 1 and 2
OF_APPROACH_2 = ("method", "budgets", "within")
APPROACHES = ("approach-1", "approach-2")
EVERY = "all"  # methods, for --crossover without a name
OF_METHODS = ("by", "response", "of", "crossover", "target")  # asked of a law of each method, fitted together
NOT_OF_METHODS = tuple(name for name in (*OF_A_LAW, *OF_APPROACHES) if name not in OF_METHODS)
WITHIN = Range(1, 1e12, above=True)  # times the size of the best run, or a part of it


class Crossover(argparse.Action):
    """Keeps what --crossover names, and `EVERY` where it names nothing."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None
    ) -> None:
        setattr(namespace, self.dest, list(values) or [EVERY])


def add_fit_options(parser: argparse.ArgumentParser) -> None:
    """Add the law, how it is fitted, and the questions."""
    parser.add_argument(
        "--law",
        metavar="NAME",
        help="fit this law, such as chinchilla; approach-1 and approach-2 are the other two"
        " methods of Chinchilla's paper",
    )
    _add_fitting(parser.add_argument_group("fitting (with --law)"))
    _add_questions(parser.add_argument_group("questions (with --law)"))
    _add_approach_2(parser.add_argument_group("approach 2"))


def _add_fitting(fitting: Any) -> None:
    fitting.add_argument(
        "--by",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="fit each group of rows with the same values in these columns",
    )
    fitting.add_argument("--response", metavar="COLUMN", help="with --law power: column to predict")
    fitting.add_argument(
        "--of",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="with --law power: columns to predict it from, x in k x^a",
    )
    fitting.add_argument(
        "--objective",
        metavar="NAME",
        help="what the fit minimises: huber, l1, squared, least-squares or quantile (default: squared"
        " for power laws, otherwise huber)",
    )
    add_number(
        fitting,
        "--quantile",
        PROPER_SHARE,
        metavar="SHARE",
        help="with --objective quantile: share of the runs that lie below the curve; 0.1 fits the best runs",
    )
    add_number(
        fitting,
        "--delta",
        HUBER,
        help="where the Huber loss turns from squared to linear, in ln loss (default: 1e-3)",
    )
    fitting.add_argument(
        "--fix",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="hold these parameters at a value instead of fitting them",
    )
    fitting.add_argument(
        "--bound",
        nargs="+",
        default=[],
        metavar="NAME=LOW:HIGH",
        help="bounds of parameters, in published units, such as c1=0:10, E=.5: or alpha=:2",
    )
    fitting.add_argument(
        "--judge",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="judge the law with these parameters instead of fitted ones; type every digit that was printed",
    )
    fitting.add_argument(
        "--weights", metavar="COLUMN", help="column with the standard error of each loss, such as loss_se"
    )
    add_number(
        fitting,
        "--bootstrap",
        REPLICATES,
        metavar="N",
        help="number of bootstrap resamples (default: 2000; 400 for approach 1, 1000 for approach 2)",
    )
    add_number(fitting, "--seed", SEED, default=0, help="random seed of the bootstrap (default: 0)")


def _add_questions(asking: Any) -> None:
    asking.add_argument(
        "--predict",
        nargs="+",
        default=[],
        metavar="N=7e10,D=1.4e12",
        help="predict the loss at this size and number of tokens",
    )
    add_number(
        asking,
        "--budget",
        QUANTITY,
        is_quantity=True,
        nargs="+",
        default=[],
        metavar="FLOPS",
        help="find the best N and D for this compute (C = 6ND)",
    )
    asking.add_argument(
        "--serve",
        nargs="+",
        default=[],
        metavar="LOSS,TOKENS",
        help="find the model that reaches LOSS with the least compute for training and for serving"
        " TOKENS tokens",
    )
    asking.add_argument(
        "--versus",
        nargs="+",
        default=[],
        metavar="FIT",
        help="test whether the fit differs from a published one (hoffmann, besiroglu, ...) or from your"
        " own constants, such as E=1.7,A=400,...",
    )
    asking.add_argument(
        "--compare",
        action="store_true",
        help="also fit other laws and compare how well they predict larger runs",
    )
    asking.add_argument(
        "--crossover",
        nargs="*",
        action=Crossover,
        default=[],
        metavar="TABLE",
        help="find where the laws of two tables cross: give the second table, then the variables"
        " to hold, such as D=1e9. With --by and a law of fine-tuning: give the methods to"
        " compare, or nothing for all of them",
    )
    add_number(
        asking,
        "--target",
        QUANTITY,
        is_quantity=True,
        nargs="+",
        default=[],
        metavar="LOSS",
        help="with --by and --crossover: find the size of base that each method needs to reach"
        " these losses (default: the loss that every method reaches)",
    )


def _add_approach_2(isoflop: Any) -> None:
    isoflop.add_argument(
        "--method",
        metavar="NAME",
        help="how to find the minimum of each budget: parabola or akima (default: parabola)",
    )
    add_number(
        isoflop,
        "--budgets",
        QUANTITY,
        is_quantity=True,
        nargs="+",
        metavar="FLOPS",
        help="group the runs around these budgets (default: those that the runs show)",
    )
    add_number(
        isoflop,
        "--within",
        WITHIN,
        metavar="FACTOR",
        help="at each budget use only sizes within this factor of the size with the lowest loss"
        " (default: all)",
    )


def given_of(arguments: argparse.Namespace, options: Sequence[str]) -> str | None:
    """Return the first of these options that was given, as it is typed; None where none was."""
    given = [name for name in options if getattr(arguments, name)]
    return f"--{given[0].replace('_', '-')}" if given else None


def check_options(arguments: argparse.Namespace) -> None:
    """Raise LoraJaxError for an option that has no part in what is asked."""
    law = arguments.law
    if arguments.by and law is None:
        raise LoraJaxError("--by needs one law: name it by --law, such as --law chinchilla.")
    if arguments.crossover == [EVERY] and not arguments.by:
        raise LoraJaxError(
            "--crossover wants a second table, or the columns that make a method, as --by method."
        )
    if arguments.target and not (arguments.by and arguments.crossover):
        raise LoraJaxError("--target needs methods: add --by and --crossover, or leave it out.")
    if arguments.by and arguments.crossover:
        _check_methods(arguments)
    if law in APPROACHES:
        wrong = given_of(arguments, [name for name in OF_A_LAW if name != "by"])
        if wrong is not None:
            raise LoraJaxError(
                f"{wrong} does not apply to {law}, which fits no law of the loss: leave it out."
            )
    wrong = given_of(arguments, OF_APPROACH_2) if law != "approach-2" else None
    if wrong is not None:
        raise LoraJaxError(
            f"{wrong} is an option of approach 2: name it by --law approach-2, or leave it out."
        )
    if law is not None and law not in (*APPROACHES, "power"):
        wrong = given_of(arguments, ("response", "of"))
        if wrong is not None:
            raise LoraJaxError(
                f"{wrong} belongs to --law power, and {law} names its own columns: leave it out."
            )


def _check_methods(arguments: argparse.Namespace) -> None:
    """Raise LoraJaxError where methods cannot be crossed as asked, with --by and --crossover."""
    from lora_jax.scaling.laws.finetuning import LAWS

    if arguments.law not in LAWS:
        raise LoraJaxError(
            f"--by with --crossover compares methods by a law of fine-tuning, and {arguments.law}"
            f" is not one: take one of {', '.join(LAWS)}, or leave out --by or --crossover."
        )
    wrong = given_of(arguments, NOT_OF_METHODS)
    if wrong is not None:
        raise LoraJaxError(f"{wrong} does not apply to --by with --crossover: leave it out.")


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
