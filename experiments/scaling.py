"""Train the sweep of a config file, fit its scaling laws, and write the report."""

if __name__ == "__main__":
    from lora_jax.runs.signals import end_at_once

    end_at_once()  # before the other imports, in which a signal would be a stack trace

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from lora_jax.cli import guard
from lora_jax.config import run_id
from lora_jax.errors import LoraJaxError
from lora_jax.runs.experiment import Experiment, load_experiment, read_lanes
from lora_jax.runs.store import RunStore, read_json

ROOT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str] | None = None) -> int:
    """Run one experiment from its config file to its report; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="a config file, such as configs/quickstart.py")
    parser.add_argument("overrides", nargs="*", metavar="field=value", help="laid over every run")
    parser.add_argument(
        "--out", type=Path, help="the results folder (default: results/CONFIG of this checkout)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print every run and its cost, train nothing")
    parser.add_argument("--device", help="price the runs for this accelerator (with --dry-run)")
    parser.add_argument(
        "--keep-models",
        action="store_true",
        help="write the trained models as Hugging Face folders, OUT/models/",
    )
    parser.add_argument(
        "--lanes",
        default="auto",
        metavar="N",
        help="train at most N runs of one shape side by side; 1: one by one (default: auto, measured)",
    )
    parser.add_argument(
        "--halving",
        action="store_true",
        help="of runs that differ in learning rate alone, end the worse half at 1/4 and 1/2 of the steps",
    )
    parser.add_argument(
        "--mesh",
        metavar="data=N,fsdp=N,tensor=N",
        help="spread every run over all devices: its batch, and its weights by d_model and by heads",
    )
    parser.add_argument(
        "--tracker", choices=("wandb", "off"), default="wandb", help="default: wandb, offline"
    )
    arguments = parser.parse_intermixed_args(argv)  # overrides may stand before and after the options
    return guard(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> int:
    experiment = load_experiment(arguments.config, arguments.overrides)
    folder = arguments.out or ROOT / "results" / experiment.name
    store = RunStore(folder)
    lanes = read_lanes(arguments.lanes)
    if arguments.dry_run:
        price(experiment, store, arguments, lanes)
        return 0
    if len(experiment.runs) == 1:
        return train_alone(experiment, store, arguments)
    if is_concluded(experiment, store, arguments.halving):
        print(f"All {len(experiment.runs)} runs of {experiment.name} are finished and reported in {folder}.")
    else:
        status = train(experiment, store, arguments)
        if status:
            return status
        conclude(experiment, store, arguments)
    show(store)
    return 0


def price(experiment: Experiment, store: RunStore, arguments: argparse.Namespace, lanes: int | None) -> None:
    """Print every run and its cost, and refuse the lanes that the device's memory does not hold."""
    from lora_jax.runs.execute import form_groups
    from lora_jax.runs.machine import find_device
    from lora_jax.runs.plan_table import print_plan

    planned = print_plan(experiment, store.settled(arguments.halving), arguments.device)
    name = arguments.device or experiment.device
    form_groups(planned, lanes, arguments.halving, find_device(name).memory_bytes if name else None)


def train_alone(experiment: Experiment, store: RunStore, arguments: argparse.Namespace) -> int:
    """Train an experiment's only run, to which no law can be fitted; return the exit status."""
    status = train(experiment, store, arguments)
    if status == 0:
        record = store.folder / "runs" / f"{run_id(experiment.runs[0])}.json"
        print(f"One run, so no law to fit: its record is {record}.")
    return status


def is_concluded(experiment: Experiment, store: RunStore, halving: bool) -> bool:
    """Is every run finished, and the report newer than the newest of them?"""
    page = store.folder / "report.html"
    if store.settled(halving) != {run_id(run) for run in experiment.runs}:
        return False
    if not page.exists() or not (store.folder / "fits.json").exists():
        return False
    return all(path.stat().st_mtime <= page.stat().st_mtime for path in store.folder.glob("runs/*.json"))


def train(experiment: Experiment, store: RunStore, arguments: argparse.Namespace) -> int:
    """Train what is not finished; return the exit status, that of the signal where one stopped it."""
    run_ids = [run_id(run) for run in experiment.runs]
    store.check(experiment.name, run_ids)
    if store.settled(arguments.halving) == set(run_ids):
        return 0
    print(experiment.question, end="\n\n", flush=True)
    from lora_jax.runs.execute import fingerprints, prepare_data, run_sweep, use_compilation_cache
    from lora_jax.runs.plan_table import print_plan
    from lora_jax.runs.signals import stop_requests
    from lora_jax.runs.tracker import open_tracker
    from lora_jax.train.mesh import make_mesh
    from lora_jax.train.side_by_side import Stopped

    use_compilation_cache()
    mesh = None if arguments.mesh is None else make_mesh(arguments.mesh)
    with store.locked():
        datasets = prepare_data(experiment.runs, print)
        store.claim(describe(experiment, arguments, fingerprints(datasets)))
        planned = print_plan(experiment, store.settled(arguments.halving))
        tracker = open_tracker(arguments.tracker, experiment.name, store.folder)
        try:
            with stop_requests() as stop, contextlib.suppress(Stopped):
                run_sweep(
                    experiment.name, planned, datasets, store, tracker, stop,
                    arguments.keep_models, read_lanes(arguments.lanes), arguments.halving, mesh,
                )  # fmt: skip
        finally:
            tracker.finish()
    if stop():
        print("Stopped. Every finished run is kept; the same command goes on from here.", file=sys.stderr)
        return stop.exit_status
    return 0


def conclude(experiment: Experiment, store: RunStore, arguments: argparse.Namespace) -> None:
    """Fit the finished runs, draw them, and write the page."""
    from lora_jax.report.page import write_report
    from lora_jax.runs.tracker import open_tracker
    from lora_jax.scaling.analysis import analyse, write_fits
    from lora_jax.scaling.tables.table import read_table

    print("Fitting, and drawing the report.", file=sys.stderr)
    try:
        store.write_table()
        fits = analyse(read_table(store.folder))
        write_fits(store.folder / "fits.json", fits)
        write_report(store.folder)
    except LoraJaxError as error:
        kept = f"Every run is trained and kept in {store.folder}; there is no report yet."
        raise LoraJaxError(f"{error} {kept}") from error
    tracker = open_tracker(arguments.tracker, experiment.name, store.folder)
    tracker.log_fits(fits, sorted((store.folder / "figures").glob("*.png")))
    tracker.finish()


def show(store: RunStore) -> None:
    """Print what fits.json says, and where the report lies."""
    from lora_jax.report.tables import print_fits

    print_fits(read_json(store.folder / "fits.json"))
    print(f"Report: {store.folder / 'report.html'}")


def describe(
    experiment: Experiment, arguments: argparse.Namespace, data: dict[str, str]
) -> dict[str, object]:
    """Return what the results folder says of itself."""
    config = arguments.config.resolve()
    if config.is_relative_to(ROOT):
        config = config.relative_to(ROOT)
    return {
        "name": experiment.name,
        "question": experiment.question,
        "command": " ".join(
            ["./launch.sh scaling", str(config), *arguments.overrides, *["--halving"] * arguments.halving]
        ),
        "overrides": list(arguments.overrides),
        "run_ids": [run_id(run) for run in experiment.runs],
        "data": data,
    }


if __name__ == "__main__":
    sys.exit(main())
