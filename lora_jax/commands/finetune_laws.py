"""lora-jax finetune_laws: pretrain bases, fine-tune each with every method and set size, and fit the laws."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands import scaling
from lora_jax.commands.caller import INSTALLED, Caller
from lora_jax.commands.saving_options import add_saving, read_saving
from lora_jax.commands.sweep_options import SweepOptions
from lora_jax.commands.training import Origin, add_tracker, describe_sweep, say, tell_status, until_stopped
from lora_jax.commands.working import Conclusion, add_workers, is_launch, launch_and_show, work_on
from lora_jax.percent import percent

if TYPE_CHECKING:
    from lora_jax.finetuning.execute import TuneCell
    from lora_jax.finetuning.experiment import StudyExperiment
    from lora_jax.runs.experiment import Experiment
    from lora_jax.runs.store import RunStore

PAGE = "report.html"
BASES = "bases"  # in the results folder: the results folder of the bases


def add(commands: Any) -> None:
    add_options(
        commands.add_parser(
            "finetune_laws",
            help="find how fine-tuning scales with the base, the data and the method",
            description="Pretrain the bases of a config, fine-tune each with every method on several amounts"
            " of data at tuned rates, and fit scaling laws of fine-tuning: where one method becomes better"
            " than another, and what is forgotten on the way. If you stop it, run it again.",
        ),
        INSTALLED,
    )


def add_options(parser: argparse.ArgumentParser, caller: Caller) -> None:
    """Add the arguments of `run` to a parser."""
    parser.add_argument("config", type=Path, help="config file, such as configs/finetune_laws.py")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="field=value",
        help="set this field in every arm (a block of fine-tuning runs), such as seeds=0,1, or in"
        " every base, such as bases.n_tokens=65536",
    )
    parser.add_argument(
        "--out", type=Path, help=f"results folder (default: results/CONFIG in {caller.place})"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything and print what it costs; train nothing"
    )
    parser.add_argument(
        "--device", help="with --dry-run: estimate the cost on this accelerator (default: this machine)"
    )
    parser.add_argument(
        "--lanes",
        default="auto",
        metavar="N",
        help="train at most N similar runs together in one program (default: auto, which measures what is"
        " fastest)",
    )
    add_tracker(parser)
    add_saving(parser)
    add_workers(parser)
    parser.set_defaults(
        run=run, caller=caller, command="finetune_laws", mesh=None, halving=False, keep_models=True
    )


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.finetuning.experiment import load_study
    from lora_jax.runs.experiment import read_lanes
    from lora_jax.runs.store import RunStore

    lanes = read_lanes(arguments.lanes)
    experiment = load_study(arguments.config, arguments.overrides)
    store = RunStore(arguments.out or arguments.caller.results(experiment.name))
    if arguments.dry_run:
        price(experiment, store, arguments)
        return 0
    command = arguments.caller.spell("finetune_laws", arguments.config, arguments.overrides)
    options = SweepOptions(
        tracker=arguments.tracker,
        lanes=lanes,
        keep_models=True,
        saving=read_saving(arguments),
        origin=Origin(command, arguments.overrides),
    )
    run_ids = ids_of(experiment)
    starts_workers = is_launch(arguments)
    store.check(experiment.name, run_ids, make=not starts_workers)
    conclusion = Conclusion((PAGE,), lambda: conclude(experiment, store, options), lambda: show(store))
    if starts_workers:
        return launch_and_show(arguments, store.folder, conclusion)
    return work_on(
        arguments, store, run_ids, lambda: train(experiment, store, options, arguments), conclusion
    )


def ids_of(experiment: "StudyExperiment") -> list[str]:
    """Return the id of every run that the study may come to."""
    from lora_jax.finetuning.config import finetune_id

    study = experiment.study
    sweeps = [sweep for label in study.bases for sweep in study.sweeps_of(label)]
    return list(dict.fromkeys(finetune_id(run) for sweep in sweeps for run in sweep.runs()))


def bases_of(experiment: "StudyExperiment") -> "Experiment | None":
    """Return the sweep that pretrains the bases; None where all of them are there already."""
    from lora_jax.runs.experiment import Experiment

    ladder = experiment.study.ladder
    return Experiment(f"{experiment.name}-bases", "", tuple(ladder)) if ladder else None


def price(experiment: "StudyExperiment", store: "RunStore", arguments: argparse.Namespace) -> None:
    """Print what the bases and the fine-tuning runs cost; refuse what training would refuse at once."""
    from lora_jax.finetuning.study_cells import open_tasks
    from lora_jax.finetuning.study_price import format_price, price_study
    from lora_jax.runs.machine import ASSUMED_UTILISATION, present_speed
    from lora_jax.runs.store import RunStore
    from lora_jax.target import find_device

    store.check(experiment.name, ids_of(experiment), make=False)
    open_tasks(experiment.study, say)
    bases = bases_of(experiment)
    if bases is not None:
        print("The bases:\n")
        scaling.price(bases, RunStore(store.folder / BASES), arguments, lanes=None)
    speed, basis = present_speed(), "this machine's speed on a typical shape"
    if arguments.device is not None:
        device = find_device(arguments.device)
        speed = ASSUMED_UTILISATION * device.peak_flops
        basis = f"{percent(ASSUMED_UTILISATION)} of the peak of {arguments.device}"
    print("\nFine-tuning:\n")
    print(format_price(price_study(experiment.study), speed, basis))


def train(
    experiment: "StudyExperiment",
    store: "RunStore",
    options: SweepOptions,
    arguments: argparse.Namespace,
) -> int:
    """Pretrain the bases, then fine-tune them one after another; return the exit status."""
    if experiment.question:
        print(experiment.question, end="\n\n", flush=True)
    status = pretrain(experiment, store.folder / BASES, options, arguments)
    return status or tune(experiment, store, options)


def pretrain(
    experiment: "StudyExperiment", folder: Path, options: SweepOptions, arguments: argparse.Namespace
) -> int:
    """Train the bases that are not there yet, as one of the workers of their folder."""
    from lora_jax.config import digest, run_id
    from lora_jax.runs.store import RunStore
    from lora_jax.workers.crew import Joining
    from lora_jax.workers.worker import STALE_SECONDS

    bases = bases_of(experiment)
    if bases is None:
        return 0
    store, ids = RunStore(folder), [run_id(run) for run in bases.runs]
    store.check(bases.name, ids)
    joining = Joining(digest(ids), arguments.invited, arguments.stale_seconds or STALE_SECONDS)
    with store.joined(joining, say):
        return scaling.train(bases, store, options)


def tune(experiment: "StudyExperiment", store: "RunStore", options: SweepOptions) -> int:
    """Fine-tune every base by the arms of the study; return the exit status."""
    from lora_jax.finetuning.execute import Tuner, TuneSettings
    from lora_jax.finetuning.study_cells import check_tokenizers, make_cells
    from lora_jax.runs.execute import use_compilation_cache
    from lora_jax.runs.tracking import open_tracker

    use_compilation_cache()
    study, models = experiment.study, store.folder / BASES / "models"
    check_tokenizers(study, models, say)
    data = store.claimed_text()
    settings = TuneSettings(options.lanes, saving=options.saving)
    tracker = open_tracker(options.tracker, experiment.name, store.folder)
    try:
        with until_stopped() as stop:
            for label in study.bases:
                say(f"\nBase {label}: {study.name_of(label)}")
                cells = make_cells(study, label, models, say)
                data |= dict(map(fingerprint_of, cells))
                store.claim(describe_sweep(experiment, ids_of(experiment), data, options.origin))
                Tuner(experiment.name, cells, store, tracker, settings).run_all(stop, say)
    finally:
        tracker.finish()
    return tell_status(stop)


def fingerprint_of(cell: "TuneCell") -> tuple[str, str]:
    """Return what a cell is called, and what its base and its task held, for the run store to compare."""
    from lora_jax.config import digest, to_dict

    task, prepared = cell.sweep.task, cell.prepared
    return digest([cell.sweep.base, to_dict(task)]), digest([prepared.task.fingerprint, prepared.fingerprint])


def conclude(experiment: "StudyExperiment", store: "RunStore", options: SweepOptions) -> None:
    """Fit the laws, draw them, and write the page."""
    from lora_jax.report.finetuning.conclusions import headline
    from lora_jax.report.finetuning.page import write_study_page
    from lora_jax.report.finetuning.rows import claim_rows
    from lora_jax.runs.tracking import open_tracker
    from lora_jax.scaling.finetuning.study_report import analyse_study
    from lora_jax.scaling.finetuning.study_results import write_study

    store.write_table()
    report = analyse_study(store.folder, options.origin.command)
    write_study(store.folder, report)
    write_study_page(report, store.folder, experiment.question)
    tracker = open_tracker(options.tracker, experiment.name, store.folder)
    table = claim_rows(report.tasks[0].claims)
    tracker.log_comparison(
        {"verdict": headline(report)},
        list(table.columns),
        [list(row) for row in table.rows],
        sorted((store.folder / "figures").glob("*.png")),
    )
    tracker.finish()


def show(store: "RunStore") -> None:
    """Print what was found, and where the report lies."""
    from lora_jax.report.finetuning.terminal import print_study
    from lora_jax.scaling.finetuning.study_results import read_study_report

    print_study(read_study_report(store.folder))
    print(f"Report: {store.folder / PAGE}")
