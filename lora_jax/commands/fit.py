"""lora-jax fit: every law that a sweep can carry, or one law on anybody's table and all one may ask of it."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.table_options import (
    add_table_options,
    command_line,
    load_table,
    parse_number,
    parse_numbers,
)
from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from lora_jax.scaling.tables.table import RunTable

ASKED_OF_A_LAW = ("fix", "judge", "weights", "predict", "budget", "serve", "versus", "crossover")
OF_A_TABLE = (
    "map", "where", "drop_worst", "cluster", "keep_uncooled", "n_column", "flops_column", "bootstrap", "seed",
)  # fmt: skip
BULK = ("samples", "profiles", "runs", "band")  # of the document: for figures, not for reading


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "fit",
        help="fit scaling laws to a results folder or anybody's table of runs",
        description="Without --law: L(N), L(D), L(C) and L(N,D) of a sweep, its largest cell held out. With"
        " --law: one law, its certificate, intervals and predictions. `lora-jax laws` lists the laws. Of a"
        " folder of fine-tuning runs, without --law: its methods compared, into comparison.json.",
    )
    add_table_options(parser)
    parser.add_argument("--law", metavar="NAME", help="one law; also approach-1 and approach-2")
    fitting = parser.add_argument_group("fitting (with --law)")
    fitting.add_argument("--objective", default="huber", help="huber (default), l1, squared, least-squares")
    fitting.add_argument("--delta", type=float, help="width of the Huber (default: 1e-3)")
    fitting.add_argument("--fix", nargs="+", default=[], metavar="NAME=VALUE", help="parameters not to fit")
    fitting.add_argument(
        "--judge", nargs="+", default=[], metavar="NAME=VALUE", help="judge these parameters, fit nothing"
    )
    fitting.add_argument("--weights", metavar="COLUMN", help="standard errors of the runs, e.g. loss_se")
    fitting.add_argument("--bootstrap", type=int, metavar="N", help="resamples (2000; 400 without --law)")
    fitting.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    asking = parser.add_argument_group("questions (with --law)")
    asking.add_argument("--predict", nargs="+", default=[], metavar="N=7e10,D=1.4e12", help="the loss there")
    asking.add_argument("--budget", nargs="+", default=[], metavar="FLOPS", help="N*, D*, D/N at C = 6ND")
    asking.add_argument(
        "--serve", nargs="+", default=[], metavar="LOSS,TOKENS", help="cheapest to train and to serve"
    )
    asking.add_argument(
        "--versus", nargs="+", default=[], metavar="FIT", help="does it differ from hoffmann, besiroglu, ...?"
    )
    asking.add_argument("--compare", action="store_true", help="other laws too, out of sample")
    asking.add_argument(
        "--crossover", nargs="+", default=[], metavar="TABLE", help="a second table, and NAME=VALUE to hold"
    )
    isoflop = parser.add_argument_group("approach 2")
    isoflop.add_argument("--method", default="parabola", help="parabola (default) or akima")
    isoflop.add_argument("--budgets", nargs="+", metavar="FLOPS", help="group the runs around these")
    isoflop.add_argument("--within", type=float, metavar="FACTOR", help="use sizes this near the best run's")
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, metavar="DIR", help="fit.json, figures/ and report.html go there")
    output.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.bootstrap is not None and arguments.bootstrap < 1:
        raise LoraJaxError(
            f"--bootstrap is {arguments.bootstrap}, it must be at least 1: ask for some hundreds."
        )
    if arguments.law is None and arguments.table.is_dir():
        from lora_jax.scaling.methods.folder import is_finetuning

        if is_finetuning(arguments.table):
            return run_methods(arguments)
    table = load_table(arguments)
    if arguments.law in ("approach-1", "approach-2"):
        from lora_jax.commands.approaches import run_approach

        return run_approach(arguments, table)
    if arguments.law is None:
        return run_sweep(arguments, table)
    document = examine_table(arguments, table)
    if arguments.out is not None:
        from lora_jax.files import write_atomically
        from lora_jax.report.fit_page import write_fit_report

        write_atomically(arguments.out / "fit.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
        page = write_fit_report(document, arguments.out)
    if arguments.json:
        print(json.dumps({k: v for k, v in document.items() if k not in BULK}, indent=1, allow_nan=False))
        return 0
    from lora_jax.report.fit_terminal import print_fit

    print_fit(document)
    if arguments.out is not None:
        print(f"Report: {page}")
    return 0


def run_methods(arguments: argparse.Namespace) -> int:
    """Compare a fine-tuning sweep's methods anew; comparison.json goes into its folder, or into --out."""
    given = [option for option in (*OF_A_TABLE, *ASKED_OF_A_LAW) if getattr(arguments, option)]
    if given:
        raise LoraJaxError(
            f"{arguments.table} holds fine-tuning runs, whose methods are compared, and"
            f" --{given[0].replace('_', '-')} has no part in that: leave it out, or name a law by --law."
        )
    from lora_jax.report.method_terminal import print_comparison
    from lora_jax.scaling.methods.folder import write_comparison

    found = write_comparison(arguments.table, arguments.out)
    if arguments.json:
        print(json.dumps(found, indent=1, allow_nan=False))
    else:
        print_comparison(found)
    return 0


def run_sweep(arguments: argparse.Namespace, table: "RunTable") -> int:
    """Fit what a sweep can carry; fits.json goes into the results folder, or into --out."""
    asked = [option for option in ASKED_OF_A_LAW if getattr(arguments, option)]
    if asked:
        raise LoraJaxError(f"--{asked[0]} is asked of one law: name it by --law, such as --law chinchilla.")
    from lora_jax.scaling.analysis import analyse, write_fits

    fits = analyse(
        table, flops_column=arguments.flops_column or "flops_exact", n_bootstrap=arguments.bootstrap or 400,
        seed=arguments.seed,
    )  # fmt: skip
    folder = arguments.out or (arguments.table if arguments.table.is_dir() else None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_fits(folder / "fits.json", fits)
    if arguments.json:
        print(json.dumps(fits, indent=1))
    else:
        from lora_jax.report.tables import print_fits

        print_fits(fits)
    return 0


def examine_table(arguments: argparse.Namespace, table: "RunTable") -> dict[str, Any]:
    """Return the document of one law."""
    from lora_jax.scaling.laboratory import Questions, examine
    from lora_jax.scaling.laws import find_law

    given = parse_numbers("--judge", arguments.judge) if arguments.judge else None
    rival, rival_at = _parse_crossover(arguments)
    questions = Questions(
        objective=arguments.objective, delta=arguments.delta, fixed=parse_numbers("--fix", arguments.fix),
        weights=arguments.weights, given=given, n_bootstrap=arguments.bootstrap or 2000, seed=arguments.seed,
        predict=[parse_numbers("--predict", [text]) for text in arguments.predict],
        budgets=[parse_number("--budget", text) for text in arguments.budget],
        serve=[_parse_serve(text) for text in arguments.serve],
        versus=arguments.versus, rival=rival, rival_at=rival_at, compare=arguments.compare,
        figures=arguments.out is not None,
    )  # fmt: skip
    return examine(table, find_law(arguments.law), questions, command_line(sys.argv[1:]))


def _parse_serve(text: str) -> tuple[float, float]:
    parts = text.split(",")
    if len(parts) != 2:
        raise LoraJaxError(f"--serve got {text!r}, it wants LOSS,TOKENS, such as 2.0,1e13.")
    return parse_number("--serve LOSS", parts[0]), parse_number("--serve TOKENS", parts[1])


def _parse_crossover(arguments: argparse.Namespace) -> "tuple[RunTable | None, dict[str, float]]":
    """Return the second table, read by the same options as the first, and the variables to hold."""
    if not arguments.crossover:
        return None, {}
    path, *held = arguments.crossover
    other = argparse.Namespace(**{**vars(arguments), "table": Path(path)})
    return load_table(other), parse_numbers("--crossover", held)
