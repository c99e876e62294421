"""lora-jax speedup: what one recipe saves over another at equal loss, in compute, tokens, steps, seconds."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.number_options import add_number
from lora_jax.commands.table_options import add_table_options, command_line, load_table, parse_numbers
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.files import to_json
from lora_jax.ranges import QUANTITY, REPLICATES, SEED, Range

if TYPE_CHECKING:
    from lora_jax.scaling.speedups.results import CurveReport, SpeedupReport
    from lora_jax.scaling.speedups.speedup import Question
    from lora_jax.scaling.tables.run_table import RunTable

NOISE = Range(0, 10, above=True)  # of a loss
OF_LAWS = ("law", "objective", "shared", "fix", "each", "measured", "unfinished")
OF_CURVES = ("loss", "noise")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "speedup",
        help="compare recipes: what one saves over another at equal loss",
        description="Compare two recipes, such as two optimizers. Fit a law to the runs of each. Say at"
        " every scale how much more compute, or how many more tokens, the first needs to reach the loss of"
        " the second, with intervals. Warnings name the traps of such comparisons that these runs fall into.",
    )
    add_table_options(parser)
    parser.add_argument(
        "rival",
        type=Path,
        nargs="?",
        help="table or results folder of the recipe that is compared with the first, the baseline",
    )
    _add_recipes(parser.add_argument_group("the recipes"))
    _add_laws(parser.add_argument_group("the laws"))
    _add_curves(parser.add_argument_group("training curves"))
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write speedup.json, figures/ and report.html to this folder"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def _add_recipes(recipes: Any) -> None:
    recipes.add_argument(
        "--by",
        metavar="COLUMN",
        help="take the recipes from one table: those named in this column. In a results folder it may be"
        " recipe, optimizer or another field of the configs",
    )
    recipes.add_argument(
        "--baseline", metavar="NAME", help="recipe that the others are compared with (default: the first)"
    )
    recipes.add_argument(
        "--seconds",
        metavar="COLUMN",
        help="column of the seconds of a run, to compare seconds as well: wall_seconds, ms/1e3",
    )
    recipes.add_argument(
        "--unfinished",
        metavar="COLUMN",
        help="column with the number of runs that a search of hyperparameters still lacks",
    )


def _add_laws(laws: Any) -> None:
    laws.add_argument(
        "--law",
        metavar="NAME",
        help="law of each recipe (default: chinchilla; power-d-floor if all runs have one N)",
    )
    laws.add_argument(
        "--objective",
        metavar="NAME",
        help="what the fits minimise: squared, huber, l1 or least-squares (default: squared)",
    )
    laws.add_argument(
        "--shared",
        nargs="+",
        default=[],
        metavar="NAME",
        help="parameters that are the same in all fits, such as the floor E of one data set",
    )
    laws.add_argument(
        "--fix", nargs="+", default=[], metavar="NAME=VALUE", help="hold these parameters at a value"
    )
    laws.add_argument(
        "--measured",
        action="store_true",
        help="fit only the baseline, and take the losses of the others as measured",
    )
    laws.add_argument(
        "--each",
        metavar="COLUMN",
        help="fit a law of one variable to the baseline for each value of this column, such as the size, and"
        " take the losses of the others as measured",
    )
    laws.add_argument(
        "--of",
        metavar="COLUMN",
        help="with --each: column of the variable (default: D); with --curves: column of the steps",
    )
    add_number(
        laws,
        "--bootstrap",
        REPLICATES,
        default=2000,
        metavar="N",
        help="number of bootstrap resamples (default: 2000)",
    )
    add_number(laws, "--seed", SEED, default=0, help="random seed of the bootstrap (default: 0)")


def _add_curves(curves: Any) -> None:
    curves.add_argument(
        "--curves",
        action="store_true",
        help="take the rows of a recipe as points of one training curve, and compare how many steps and"
        " seconds each recipe needs to reach a loss",
    )
    add_number(
        curves,
        "--loss",
        QUANTITY,
        metavar="LOSS",
        help="with --curves: the loss to reach (default: the last of the baseline)",
    )
    add_number(
        curves,
        "--noise",
        NOISE,
        metavar="SD",
        help="with --curves: standard deviation of the loss between seeds, for intervals",
    )


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.commands.waiting import waiting
    from lora_jax.scaling.speedups.documents import to_speedup_document

    _check(arguments)
    with waiting():
        found = replace(compare(arguments), command=command_line(["speedup", *arguments.words]))
    page = None
    if arguments.out is not None:
        from lora_jax.report.speedup.page import write_speedup_page

        page = write_speedup_page(found, arguments.out)
    if arguments.json:
        print(to_json(to_speedup_document(found)))
        return 0
    from lora_jax.report.speedup.terminal import print_speedup

    print_speedup(found)
    if page is not None:
        print(f"Report: {page}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise LoraJaxError for options that have no part in what is asked."""
    if (arguments.rival is None) == (arguments.by is None):
        got = "one table and no --by" if arguments.by is None else "two tables and --by"
        raise LoraJaxError(
            f"speedup got {got}: give a table of each recipe, or one table and --by COLUMN that names them."
        )
    wrong = OF_LAWS if arguments.curves else OF_CURVES
    given = next((name for name in wrong if getattr(arguments, name)), None)
    if given is not None:
        what = (
            "laws, and --curves fits none: leave out --curves" if arguments.curves else "curves: add --curves"
        )
        raise LoraJaxError(f"--{given} needs {what}, or leave it out.")
    if arguments.of is not None and arguments.each is None and not arguments.curves:
        raise LoraJaxError("--of names the variable of --each or the steps of --curves: add one of them.")
    if arguments.law is not None and arguments.each is not None and arguments.of is not None:
        raise LoraJaxError("--law and --of both say the variable of --each: leave one of them out.")


def compare(arguments: argparse.Namespace) -> "SpeedupReport | CurveReport":
    """Read the recipes and compare them."""
    tables = _read_recipes(arguments)
    if arguments.curves:
        return _compare_curves(arguments, tables)
    from lora_jax.scaling.recipes.records import doubt_recipes, recorded_runs
    from lora_jax.scaling.speedups.recipes import make_recipe
    from lora_jax.scaling.speedups.speedup import compare_recipes

    recorded = {path: recorded_runs(path) for path in {path for _, _, path in tables}}
    recipes = [make_recipe(name, doubt_recipes(table, recorded[path]), path) for name, table, path in tables]
    return compare_recipes(recipes[0], recipes[1:], _question_of(arguments))


def _compare_curves(
    arguments: argparse.Namespace, tables: "Sequence[tuple[str, RunTable, Path]]"
) -> "CurveReport":
    from lora_jax.scaling.speedups.curves import CurveQuestion, compare_curves, find_step_column, make_curve

    _, first, _ = tables[0]
    column = find_step_column(first, arguments.of)
    curves = [make_curve(name, table, column, arguments.seconds) for name, table, _ in tables]
    question = CurveQuestion(arguments.loss, arguments.noise, arguments.seed)
    named = {"n_steps": "step"}.get(column, column)
    return compare_curves(first, curves[0], curves[1:], question, named)


def _question_of(arguments: argparse.Namespace) -> "Question":
    from lora_jax.scaling.laws import find_law
    from lora_jax.scaling.speedups.speedup import Question

    return Question(
        law=None if arguments.law is None else find_law(arguments.law),
        objective=arguments.objective,
        shared=tuple(arguments.shared),
        fixed=parse_numbers("--fix", arguments.fix),
        each=arguments.each,
        of=arguments.of or "D",
        measured=arguments.measured,
        seconds=arguments.seconds,
        unfinished=arguments.unfinished,
        n_bootstrap=arguments.bootstrap,
        seed=arguments.seed,
    )


def _read_recipes(arguments: argparse.Namespace) -> "list[tuple[str, RunTable, Path]]":
    """Return the name, the runs and the place of each recipe, the baseline first."""
    if arguments.by is None:
        paths = [arguments.table, arguments.rival]
        names = [path.name if path.is_dir() else path.stem for path in paths]
        names = [str(path) for path in paths] if names[0] == names[1] else names
        if arguments.baseline is not None and arguments.baseline not in names:
            raise _unknown_baseline(arguments.baseline, names)
        found = [
            (name, load_table(argparse.Namespace(**{**vars(arguments), "table": path})), path)
            for name, path in zip(names, paths, strict=True)
        ]
    else:
        found = _read_groups(arguments)
        names = [name for name, _, _ in found]
    if arguments.baseline is None:
        return found
    if arguments.baseline not in names:
        raise _unknown_baseline(arguments.baseline, names)
    first = names.index(arguments.baseline)
    return [found[first], *(entry for k, entry in enumerate(found) if k != first)]


def _read_groups(arguments: argparse.Namespace) -> "list[tuple[str, RunTable, Path]]":
    """Return the recipes that a column names, each read as by `--where COLUMN=NAME`.

    The table of a results folder has no such column; there the records name the optimizer, or the recipe.
    """
    from lora_jax.scaling.recipes.records import recorded_runs, split_by
    from lora_jax.scaling.tables.groups import groups_of

    table = load_table(arguments)
    if arguments.by not in (*table.columns, *table.labels):
        found = [
            (name, part, arguments.table)
            for name, part in split_by(table, recorded_runs(arguments.table), arguments.by)
        ]
        if found:
            return found
    found = []
    for group in groups_of(table, [arguments.by]):
        own = argparse.Namespace(**{**vars(arguments), "where": [*arguments.where, *group.conditions]})
        found.append((group.values[0] or "(empty)", load_table(own), arguments.table))
    return found


def _unknown_baseline(name: str, names: Sequence[str]) -> LoraJaxError:
    return LoraJaxError(f"--baseline {name} is none of the recipes{nearest(name, names)}: name one of them.")
