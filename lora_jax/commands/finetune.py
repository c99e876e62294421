"""lora-jax finetune: adapt a pretrained model to a task by the methods of a config file, and compare them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands import one_line
from lora_jax.commands.caller import INSTALLED, Caller
from lora_jax.commands.saving_options import add_saving, read_saving
from lora_jax.commands.training import (
    Origin,
    TrainingOptions,
    add_tracker,
    describe_sweep,
    say,
    tell_status,
    until_stopped,
)
from lora_jax.commands.working import Conclusion, add_workers, is_launch, is_reported, launch, work_on

if TYPE_CHECKING:
    from lora_jax.comparison.results import MethodComparison
    from lora_jax.finetuning.experiment import FinetuneExperiment
    from lora_jax.finetuning.prepare import Prepared
    from lora_jax.runs.store import RunStore

PAGE = "report.html"


def add(commands: Any) -> None:
    add_options(
        commands.add_parser(
            "finetune",
            help="adapt a pretrained model with several methods and compare them",
            description="Adapt a pretrained model with each method of a config, and compare the methods at"
            " tuned learning rates. Or fine-tune on your own file with one method: give --base"
            " and --data, and no config. If you stop it, run it again: it skips finished runs and"
            " resumes the others.",
        ),
        INSTALLED,
    )


def add_options(parser: argparse.ArgumentParser, caller: Caller) -> None:
    """Add the arguments of `run` to a parser."""
    parser.add_argument(
        "config",
        type=Path,
        nargs="?",
        help="config file, such as configs/peft_sst2.py; none with --base and --data",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="field=value",
        help="set this field of the sweep, such as task.name=files:FOLDER",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="LABEL",
        help="train only the method with this label; repeat the option for more (default: all methods)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help=f"results folder (default: results/NAME in {caller.place}; NAME is the config's, or"
        " made of data, base and method)",
    )
    parser.add_argument(
        "--lanes",
        default="auto",
        metavar="N",
        help="train at most N runs of one method together in one program; 1 trains one after another"
        " (default: auto, which measures what is fastest)",
    )
    parser.add_argument(
        "--halving",
        action="store_true",
        help="stop the worse half of a method's learning rates at each dev score except the last",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check everything and print what each method trains; train nothing",
    )
    add_tracker(parser)
    add_saving(parser)
    add_workers(parser)
    one_line.add_options(parser)
    parser.set_defaults(run=run, caller=caller, command="finetune")


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.finetuning.config import finetune_id
    from lora_jax.finetuning.export import export_chosen
    from lora_jax.finetuning.prepare import prepare
    from lora_jax.finetuning.table import print_methods
    from lora_jax.runs.execute import use_compilation_cache
    from lora_jax.runs.experiment import read_lanes
    from lora_jax.runs.store import RunStore

    lanes = read_lanes(arguments.lanes)
    experiment = _load(arguments)
    store = RunStore(arguments.out or arguments.caller.results(experiment.name))
    run_ids = [finetune_id(run) for run in experiment.sweep.runs()]
    starts_workers = is_launch(arguments)
    store.check(experiment.name, run_ids, make=False)  # before the base is loaded
    if starts_workers:
        status = launch(arguments, store.folder)
        if not status and is_reported(store.folder, PAGE):
            show(store)
        return status
    use_compilation_cache()
    print(experiment.question, end="\n\n", flush=True)
    prepared = prepare(experiment.sweep.base, experiment.sweep.task, say)
    if arguments.data is not None:
        one_line.print_splits(experiment, prepared)
    print_methods(experiment.sweep, prepared)
    options = TrainingOptions(
        tracker=arguments.tracker,
        lanes=lanes,
        halving=arguments.halving,
        saving=read_saving(arguments),
        origin=Origin(_spell(arguments), arguments.overrides),
    )
    if arguments.dry_run:
        check(experiment, prepared, store, options)
        return 0
    store.check(experiment.name, run_ids)

    def conclude_sweep() -> None:
        conclude(experiment.name, store, options)
        for line in export_chosen(experiment.sweep, prepared, store):
            print(line)

    def show_outcome() -> None:
        if arguments.data is not None:
            one_line.print_outcome(experiment, prepared, store, arguments.caller.program)
        show(store)

    return work_on(
        arguments,
        store,
        [*run_ids, options.halving],
        lambda: train(experiment, prepared, store, options),
        Conclusion((PAGE,), conclude_sweep, show_outcome),
    )


def show(store: "RunStore") -> None:
    """Print what comparison.json says, and where the report lies."""
    from lora_jax.comparison.documents import read_comparison
    from lora_jax.report.methods.terminal import print_comparison

    print_comparison(read_comparison(store.folder / "comparison.json"))
    print(f"Report: {store.folder / PAGE}")


def _load(arguments: argparse.Namespace) -> "FinetuneExperiment":
    """Return the experiment of a config file, or of a base and data."""
    from lora_jax.finetuning.experiment import load_finetuning

    one_line.settle(arguments)
    if arguments.config is not None:
        return load_finetuning(arguments.config, arguments.overrides, arguments.only)
    return one_line.load(arguments)


def _spell(arguments: argparse.Namespace) -> str:
    """Return the command that is kept with the results."""
    words = [word for label in arguments.only for word in ("--only", f'"{label}"')]
    words += ["--lanes", arguments.lanes] if arguments.lanes != "auto" else []
    words += ["--halving"] if arguments.halving else []
    if arguments.config is None:
        words = [*one_line.spell(arguments), *words]
    return arguments.caller.spell("finetune", arguments.config, [*arguments.overrides, *words])


def check(
    experiment: "FinetuneExperiment", prepared: "Prepared", store: "RunStore", options: TrainingOptions
) -> None:
    """Refuse what training would refuse before its first step."""
    from lora_jax.finetuning.execute import TuneCell, Tuner, TuneSettings
    from lora_jax.runs.tracking import check_tracker, open_tracker

    check_tracker(options.tracker)
    store.check_text(fingerprints(experiment, prepared))
    tracker = open_tracker("off", experiment.name, store.folder)
    cells, settings = [TuneCell(experiment.sweep, prepared)], TuneSettings(options.lanes, options.halving)
    Tuner(experiment.name, cells, store, tracker, settings).check()


def fingerprints(experiment: "FinetuneExperiment", prepared: "Prepared") -> dict[str, str]:
    """Return what the task and the base held, for the run store to compare with later."""
    from lora_jax.config import digest, to_dict

    return {digest(to_dict(experiment.sweep.task)): digest([prepared.task.fingerprint, prepared.fingerprint])}


def train(
    experiment: "FinetuneExperiment", prepared: "Prepared", store: "RunStore", options: TrainingOptions
) -> int:
    """Train what is not finished; return the exit status, that of the signal where one stopped it.

    The folder has been checked, and this process is one of its workers.
    """
    from lora_jax.finetuning.config import finetune_id
    from lora_jax.finetuning.execute import TuneCell, Tuner, TuneSettings
    from lora_jax.runs.tracking import open_tracker

    sweep = experiment.sweep
    run_ids = [finetune_id(run) for run in sweep.runs()]
    data = fingerprints(experiment, prepared)
    store.claim(describe_sweep(experiment, run_ids, data, options.origin))
    tracker = open_tracker(options.tracker, experiment.name, store.folder)
    settings = TuneSettings(options.lanes, options.halving, options.saving)
    try:
        with until_stopped() as stop:
            cells = [TuneCell(sweep, prepared)]
            Tuner(experiment.name, cells, store, tracker, settings).run_all(stop, say)
    finally:
        tracker.finish()
    return tell_status(stop)


def conclude(name: str, store: "RunStore", options: TrainingOptions) -> "MethodComparison":
    """Compare the methods, draw them, and write the page; return the comparison."""
    from lora_jax.comparison.folder import write_comparison
    from lora_jax.report.methods.page import write_method_report
    from lora_jax.runs.tracking import open_tracker

    store.write_table()
    comparison = write_comparison(store.folder)
    write_method_report(store.folder)
    tracker = open_tracker(options.tracker, name, store.folder)
    facts = {"metric": comparison.metric, "reference": comparison.reference}
    columns, rows = tracked_methods(comparison)
    tracker.log_comparison(facts, columns, rows, sorted((store.folder / "figures").glob("*.png")))
    tracker.finish()
    return comparison


def tracked_methods(found: "MethodComparison") -> tuple[list[str | int], list[list[Any]]]:
    """Return (columns, rows) of the methods that have a score, as a dashboard shows them."""
    columns: list[str | int] = [
        "method",
        "trainable",
        "FLOPs of full",
        "learning rate",
        "seeds",
        "value",
        "low",
        "high",
    ]
    rows = [
        [m.label, m.n_trainable, m.flops_share, m.best_rate, m.n_seeds, m.score.value, *m.score.interval]
        for m in found.methods
        if m.score is not None
    ]
    return columns, rows
