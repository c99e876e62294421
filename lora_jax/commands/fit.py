"""lora-jax fit: every law that a sweep can carry, or one law on anybody's table and all one may ask of it."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.fit_options import (
    APPROACHES,
    OF_A_LAW,
    OF_A_TABLE,
    OF_APPROACHES,
    add_fit_options,
    check_options,
    given_of,
)
from lora_jax.commands.fit_questions import law_of, needs_loss, questions_of
from lora_jax.commands.table_options import add_table_options, command_line, load_table
from lora_jax.errors import LoraJaxError
from lora_jax.files import to_json

if TYPE_CHECKING:
    from lora_jax.scaling.results import FitReport
    from lora_jax.scaling.tables.table import RunTable


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "fit",
        help="fit scaling laws to a results folder or to any table of runs",
        description="Fit scaling laws of the loss L to training runs. N is a model's parameters, D its"
        " training tokens, C its training FLOPs. Without --law: fit L(N), L(D), L(C) and"
        " L(N,D). The largest cell (one pair of N and D) is held out and predicted. With"
        " --law: fit one law, judge the fit and answer your questions, with intervals."
        " `lora-jax laws` lists the laws. If the folder holds fine-tuning runs, compare their"
        " methods instead and write comparison.json.",
    )
    add_table_options(parser)
    add_fit_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write fit.json, figures/ and report.html to this folder; with --by, one folder for each group",
    )
    output.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    check_options(arguments)
    if arguments.law is None and arguments.table.is_dir():
        from lora_jax.comparison.folder import is_finetuning
        from lora_jax.scaling.finetuning.study_runs import is_study

        if is_study(arguments.table):
            return run_study(arguments)
        if is_finetuning(arguments.table):
            return run_methods(arguments)
    table = load_table(arguments, needs_loss(arguments))
    if arguments.by and arguments.crossover:
        from lora_jax.commands.fit_methods import run_method_laws

        return run_method_laws(arguments, table)
    if arguments.by:
        from lora_jax.commands.fit_groups import run_groups

        return run_groups(arguments, table)
    if arguments.law in APPROACHES:
        from lora_jax.commands.approaches import run_approach

        return run_approach(arguments, table)
    if arguments.law is None:
        return run_sweep(arguments, table)
    return run_law(arguments, table)


def run_law(arguments: argparse.Namespace, table: "RunTable") -> int:
    """Fit one law, and print or write its document."""
    from lora_jax.commands.waiting import waiting

    with waiting():
        report = fit_one_law(arguments, table)
        page = None if arguments.out is None else write_law(report, arguments.out)
    from lora_jax.scaling.documents import fit_to_short_document

    if arguments.json:
        print(to_json(fit_to_short_document(report)))
        return 0
    from lora_jax.report.fit.terminal import print_fit

    print_fit(report)
    if arguments.out is not None:
        print(f"Report: {page}")
    return 0


def fit_one_law(arguments: argparse.Namespace, table: "RunTable") -> "FitReport":
    """Return the report of one law."""
    from lora_jax.scaling.one_law import fit_law

    law = law_of(arguments, table)
    return fit_law(table, law, questions_of(arguments, law), command_line(sys.argv[1:]))


def write_law(report: "FitReport", folder: Path) -> Path:
    """Write fit.json, figures/ and report.html of one law; return the page's path."""
    from lora_jax.report.fit.page import write_fit_report
    from lora_jax.scaling.documents import write_fit

    write_fit(folder / "fit.json", report)
    return write_fit_report(report, folder)


def _refuse_options(arguments: argparse.Namespace) -> None:
    """Refuse the options of a law for a folder of fine-tuning runs."""
    given = given_of(arguments, (*OF_A_TABLE, *OF_A_LAW, *OF_APPROACHES))
    if given is not None:
        raise LoraJaxError(
            f"{arguments.table} holds fine-tuning runs, so fit compares their methods, and {given}"
            " does not apply: leave it out, or name a law by --law."
        )


def run_study(arguments: argparse.Namespace) -> int:
    """Fit the laws of a study of fine-tuning anew, and write finetune_laws.json where `output_path` says."""
    _refuse_options(arguments)
    from lora_jax.digests import doubting
    from lora_jax.documents import to_document
    from lora_jax.report.finetuning.terminal import print_study
    from lora_jax.report.kit.sweep_file import read_sweep_file
    from lora_jax.scaling.finetuning.study_report import analyse_study
    from lora_jax.scaling.finetuning.study_results import STUDY, write_study

    with doubting("restore it, or delete it to train that run again"):
        report = analyse_study(arguments.table, read_sweep_file(arguments.table).command)
    path = output_path(arguments, STUDY.name)
    if path is not None:
        write_study(path.parent, report)
    if arguments.json:
        print(to_json(to_document(report)))
    else:
        print_study(report)
    return 0


def run_methods(arguments: argparse.Namespace) -> int:
    """Compare a fine-tuning sweep's methods anew, and write comparison.json where `output_path` says."""
    _refuse_options(arguments)
    from lora_jax.comparison.documents import comparison_to_document, save_comparison
    from lora_jax.comparison.folder import read_runs
    from lora_jax.comparison.methods import compare_methods
    from lora_jax.digests import doubting
    from lora_jax.report.methods.terminal import print_comparison

    with doubting("restore it, or delete it to train that run again"):
        found = compare_methods(read_runs(arguments.table))
    path = output_path(arguments, "comparison.json")
    if path is not None:
        save_comparison(path, found)
    if arguments.json:
        print(to_json(comparison_to_document(found)))
    else:
        print_comparison(found)
    return 0


def run_sweep(arguments: argparse.Namespace, table: "RunTable") -> int:
    """Fit what a sweep can carry, and write fits.json where `output_path` says."""
    asked = given_of(arguments, (*OF_A_LAW, *OF_APPROACHES))
    if asked is not None:
        raise LoraJaxError(f"{asked} needs one law: name it by --law, such as --law chinchilla.")
    from lora_jax.commands.waiting import waiting
    from lora_jax.scaling.appraisal import REPLICATES
    from lora_jax.scaling.documents import sweep_to_document, write_fits
    from lora_jax.scaling.recipes.records import doubt_recipes, recorded_runs
    from lora_jax.scaling.sweep import fit_sweep

    with waiting():
        fits = fit_sweep(
            doubt_recipes(table, recorded_runs(arguments.table)),
            flops_column=arguments.flops_column or "flops_exact",
            n_bootstrap=arguments.bootstrap or REPLICATES,
            seed=arguments.seed,
        )
    if not fits.fits and not arguments.table.is_dir():
        raise LoraJaxError(f"{table.source} has too few runs for any law. {' '.join(fits.warnings)}")
    path = output_path(arguments, "fits.json")
    if path is not None:
        write_fits(path, fits)
    if arguments.json:
        print(to_json(sweep_to_document(fits)))
    else:
        from lora_jax.report.sweep.terminal import print_fits

        print_fits(fits)
    return 0


def output_path(arguments: argparse.Namespace, name: str) -> Path | None:
    """Return where what was found is written: in --out, else in the results folder that was read.

    A file that git keeps there is somebody's published result, and is left as it is; of a single file of runs
    nothing is written.
    """
    if arguments.out is not None:
        return arguments.out / name
    if not arguments.table.is_dir():
        return None
    from lora_jax.files import is_tracked

    path = arguments.table / name
    if not is_tracked(path):
        return path
    print(f"{path} is kept by git and left as it is: --out DIR writes another.", file=sys.stderr)
    return None
