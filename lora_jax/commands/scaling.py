"""lora-jax scaling: train the sweep of a config file, fit its scaling laws, and write the report."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.caller import INSTALLED, SHIPPED, Caller, find_config
from lora_jax.commands.comma_lists import add_mesh
from lora_jax.commands.following import describe, follow
from lora_jax.commands.heldout_options import add_measuring, read_measuring
from lora_jax.commands.saving_options import add_saving, read_saving
from lora_jax.commands.sweep_options import SweepOptions, make_settings
from lora_jax.commands.training import (
    Origin,
    add_tracker,
    describe_sweep,
    say,
    tell_status,
    until_stopped,
)
from lora_jax.commands.working import (
    Conclusion,
    add_workers,
    is_launch,
    is_reported,
    launch_and_show,
    work_on,
)
from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:
    from lora_jax.runs.experiment import Experiment
    from lora_jax.runs.store import RunStore
    from lora_jax.scaling.sweep_results import SweepReport


REPORT = ("report.html", "fits.json", "sweep.json")  # what a finished sweep's folder has, the page first


def add(commands: Any) -> None:
    add_options(
        commands.add_parser(
            "scaling",
            help="train a sweep, fit its scaling laws and write the report",
            description="Train the sweep of a config, fit its scaling laws and write the report. If you stop"
            " it, run it again: it skips finished runs and resumes the others.",
        ),
        INSTALLED,
    )


def add_options(parser: argparse.ArgumentParser, caller: Caller) -> None:
    """Add the arguments of `run` to a parser."""
    parser.add_argument(
        "config",
        type=Path,
        help=f"config file, or the word {SHIPPED} for the config that comes with lora_jax",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="field=value",
        help="set this field in every run, such as n_tokens=32768",
    )
    parser.add_argument(
        "--out", type=Path, help=f"results folder (default: results/CONFIG in {caller.place})"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check everything and print every run and its cost; train nothing",
    )
    parser.add_argument(
        "--device", help="with --dry-run: estimate the cost on this accelerator (default: this machine)"
    )
    parser.add_argument(
        "--keep-models",
        action="store_true",
        help="write the trained models as Hugging Face folders to OUT/models/",
    )
    parser.add_argument(
        "--lanes",
        default="auto",
        metavar="N",
        help="train at most N runs of one model size and batch together in one program; 1 trains one after"
        " another (default: auto, which measures what is fastest)",
    )
    parser.add_argument(
        "--halving",
        action="store_true",
        help="compare runs that differ only in learning rate, and stop the worse half of them after 1/4 of"
        " the steps and again after 1/2",
    )
    add_mesh(
        parser,
        metavar="data=N,fsdp=N,tensor=N",
        help="split every run over all devices: the batch over data, the weights over fsdp (d_model) and"
        " tensor (heads)",
    )
    add_tracker(parser)
    add_saving(parser)
    add_measuring(parser)
    add_workers(parser)
    parser.set_defaults(run=run, caller=caller, command="scaling")


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.runs.experiment import load_experiment, read_lanes
    from lora_jax.runs.store import RunStore

    experiment = load_experiment(find_config(arguments.config), arguments.overrides)
    folder = arguments.out or arguments.caller.results(experiment.name)
    store = RunStore(folder)
    lanes = read_lanes(arguments.lanes)
    if arguments.dry_run:
        price(experiment, store, arguments, lanes)
        return 0
    words = [*arguments.overrides, *["--halving"] * arguments.halving]
    command = arguments.caller.spell("scaling", find_config(arguments.config), words)
    options = SweepOptions(
        tracker=arguments.tracker,
        lanes=lanes,
        halving=arguments.halving,
        mesh=arguments.mesh,
        keep_models=arguments.keep_models,
        saving=read_saving(arguments),
        measuring=read_measuring(arguments),
        origin=Origin(command, arguments.overrides),
    )
    if options.mesh is None or is_launch(arguments):
        return lead(experiment, store, options, arguments)
    from lora_jax.training.processes import run_together

    return run_together(
        lambda: lead(experiment, store, options, arguments),
        lambda: follow(experiment, store, options),
    )


def lead(
    experiment: "Experiment", store: "RunStore", options: SweepOptions, arguments: argparse.Namespace
) -> int:
    """Train and conclude what is not yet, and show it; return the exit status."""
    if is_concluded(experiment, store, arguments.halving):
        n, name = len(experiment.runs), experiment.name
        print(f"All {n} runs of {name} are finished and reported in {store.folder}.")
        if not arguments.invited:
            show(store)
        return 0
    conclusion = Conclusion(REPORT, lambda: conclude(experiment, store, options), lambda: show(store))
    return work(experiment, store, options, arguments, conclusion)


def work(
    experiment: "Experiment",
    store: "RunStore",
    options: SweepOptions,
    arguments: argparse.Namespace,
    conclusion: Conclusion,
) -> int:
    """Train as one of the folder's workers, and conclude; or start such. Return the exit status."""
    from lora_jax.config import run_id

    ids = [run_id(run) for run in experiment.runs]
    starts_workers = is_launch(arguments)
    store.check(experiment.name, ids, make=not starts_workers)
    if starts_workers:
        return launch_and_show(arguments, store.folder, conclusion)
    identity = [*ids, options.halving, options.keep_models]
    return work_on(arguments, store, identity, lambda: train(experiment, store, options), conclusion)


def price(
    experiment: "Experiment", store: "RunStore", arguments: argparse.Namespace, lanes: int | None
) -> None:
    """Print every run and its cost; refuse what the run would: folder, mesh, sources, tokens, lanes, memory.

    Priced for another machine, a mesh is of that machine's devices, and their number is not this one's.
    """
    from lora_jax.config import run_id
    from lora_jax.runs.execute import check_spread, fingerprints, form_groups, try_data
    from lora_jax.runs.models import check_savable
    from lora_jax.runs.plan_table import print_plan
    from lora_jax.runs.tracking import check_tracker
    from lora_jax.target import find_device
    from lora_jax.training.mesh import make_mesh, parse_mesh

    check_tracker(arguments.tracker)
    store.check(experiment.name, [run_id(run) for run in experiment.runs], make=False)
    name = arguments.device or experiment.device
    device = find_device(name) if name else None
    mesh = None
    if arguments.mesh is not None:
        parse_mesh(arguments.mesh)
        mesh = make_mesh(arguments.mesh) if device is None else None
    datasets = try_data(experiment.runs, say)
    store.check_text(fingerprints(datasets))
    planned = print_plan(experiment, store.settled(arguments.halving), arguments.device)
    if mesh is not None:
        lanes = check_spread(planned, mesh, lanes, arguments.halving)
    form_groups(planned, lanes, arguments.halving, device.memory_bytes if device else None)
    if arguments.keep_models:
        for run in experiment.runs:
            if run.data in datasets:
                check_savable(run, datasets[run.data])


def is_concluded(experiment: "Experiment", store: "RunStore", halving: bool) -> bool:
    """Is every run finished, and the report newer than the newest of them?"""
    from lora_jax.config import run_id

    ids = {run_id(run) for run in experiment.runs}
    return store.settled(halving) == ids and is_reported(store.folder, *REPORT)


def train(experiment: "Experiment", store: "RunStore", options: SweepOptions) -> int:
    """Train what is not finished; return the exit status, that of the signal where one stopped it.

    The folder has been checked, and this process is one of its workers.
    """
    from lora_jax.config import run_id

    run_ids = [run_id(run) for run in experiment.runs]
    if store.settled(options.halving) == set(run_ids) and (store.folder / "sweep.json").exists():
        return 0
    if experiment.question:
        print(experiment.question, end="\n\n", flush=True)
    from lora_jax.runs.execute import fingerprints, prepare_alone, run_sweep, use_compilation_cache
    from lora_jax.runs.plan_table import print_plan
    from lora_jax.runs.tracking import open_tracker
    from lora_jax.training.processes import tell

    tell(describe(run_ids))
    use_compilation_cache()
    settings = make_settings(options)
    datasets = prepare_alone(store, experiment.runs, say)
    store.claim(describe_sweep(experiment, run_ids, fingerprints(datasets), options.origin))
    planned = print_plan(experiment, store.settled(options.halving))
    tracker = open_tracker(options.tracker, experiment.name, store.folder)
    try:
        with until_stopped() as stop:
            run_sweep(experiment.name, planned, datasets, store, tracker, stop, settings)
    finally:
        tracker.finish()
    return tell_status(stop)


def conclude(experiment: "Experiment", store: "RunStore", options: SweepOptions) -> "SweepReport":
    """Fit the finished runs, draw them, and write the page; return the fits."""
    from lora_jax.report.sweep.page import write_report
    from lora_jax.runs.tracking import open_tracker
    from lora_jax.scaling.documents import sweep_to_document, write_fits
    from lora_jax.scaling.recipes.records import doubt_recipes, recorded_runs
    from lora_jax.scaling.sweep import fit_sweep
    from lora_jax.scaling.tables.table import read_table

    print("Fitting, and drawing the report.", file=sys.stderr)
    try:
        store.write_table()
        fits = fit_sweep(doubt_recipes(read_table(store.folder), recorded_runs(store.folder)))
        write_fits(store.folder / "fits.json", fits)
        write_report(store.folder)
    except LoraJaxError as error:
        kept = f"Every run is trained and kept in {store.folder}; there is no report yet."
        raise LoraJaxError(f"{error} {kept}") from error
    tracker = open_tracker(options.tracker, experiment.name, store.folder)
    tracker.log_fits(sweep_to_document(fits), sorted((store.folder / "figures").glob("*.png")))
    tracker.finish()
    return fits


def show(store: "RunStore") -> None:
    """Print what fits.json says, of a sweep too small for any law its runs, and where the report lies."""
    from lora_jax.report.sweep.results import read_results
    from lora_jax.report.sweep.terminal import print_fits, print_runs
    from lora_jax.scaling.documents import read_fits

    fits = read_fits(store.folder / "fits.json")
    print_fits(fits)
    if not fits.fits:
        print_runs(read_results(store.folder))
    print(f"Report: {store.folder / 'report.html'}")
