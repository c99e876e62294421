"""The options of `lora-jax fit --law`: how to fit, what to ask, and which options exclude each other."""

import argparse
from collections.abc import Sequence
from typing import Any

from lora_jax.commands.number_options import add_number
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import HUBER, PROPER_SHARE, QUANTITY, REPLICATES, SEED, Range

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
    _add_objective(fitting)
    _add_parameters(fitting)
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


def _add_objective(fitting: Any) -> None:
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


def _add_parameters(fitting: Any) -> None:
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
