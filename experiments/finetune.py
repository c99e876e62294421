"""Adapt a pretrained model to a task by the methods of a config file, and compare them."""

if __name__ == "__main__":
    from lora_jax.runs.signals import end_at_once

    end_at_once()  # before the other imports, in which a signal would be a stack trace

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from lora_jax.cli import guard
from lora_jax.runs.store import RunStore

ROOT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str] | None = None) -> int:
    """Run one fine-tuning experiment from its config file to its report; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="a config file, such as configs/peft_sst2.py")
    parser.add_argument("overrides", nargs="*", metavar="field=value", help="laid over the sweep")
    parser.add_argument(
        "--only", action="append", default=[], metavar="LABEL", help="this method alone (again: more)"
    )
    parser.add_argument(
        "--out", type=Path, help="the results folder (default: results/CONFIG of this checkout)"
    )
    parser.add_argument(
        "--lanes",
        default="auto",
        metavar="N",
        help="train at most N runs of one method side by side; 1: one by one (default: auto, measured)",
    )
    parser.add_argument(
        "--halving",
        action="store_true",
        help="of a method's learning rates, end the worse half at each dev score but the last",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what each method trains, train nothing")
    parser.add_argument(
        "--tracker", choices=("wandb", "off"), default="wandb", help="default: wandb, offline"
    )
    arguments = parser.parse_intermixed_args(argv)  # overrides may stand before and after the options
    return guard(lambda: run(arguments))


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.finetune.experiment import load_finetuning
    from lora_jax.finetune.prepare import prepare
    from lora_jax.finetune.table import print_methods
    from lora_jax.runs.execute import use_compilation_cache
    from lora_jax.runs.experiment import read_lanes

    lanes = read_lanes(arguments.lanes)
    experiment = load_finetuning(arguments.config, arguments.overrides, arguments.only)
    store = RunStore(arguments.out or ROOT / "results" / experiment.name)
    use_compilation_cache()
    print(experiment.question, end="\n\n", flush=True)
    prepared = prepare(experiment.sweep.base, experiment.sweep.task, print)
    print_methods(experiment.sweep, prepared)
    if arguments.dry_run:
        return 0
    status = train(experiment, prepared, store, arguments, lanes)
    if status:
        return status
    return conclude(experiment, prepared, store, arguments)


def train(experiment, prepared, store: RunStore, arguments: argparse.Namespace, lanes: int | None) -> int:
    """Train what is not finished; return the exit status, that of the signal where one stopped it."""
    from lora_jax.config import digest, to_dict
    from lora_jax.finetune.config import finetune_id
    from lora_jax.finetune.execute import Tuner
    from lora_jax.runs.signals import stop_requests
    from lora_jax.runs.tracker import open_tracker
    from lora_jax.train.side_by_side import Stopped

    sweep = experiment.sweep
    run_ids = [finetune_id(run) for run in sweep.runs()]
    store.check(experiment.name, run_ids)
    with store.locked():
        content = digest([prepared.task.fingerprint, prepared.fingerprint])
        store.claim(describe(experiment, arguments, run_ids, {digest(to_dict(sweep.task)): content}))
        tracker = open_tracker(arguments.tracker, experiment.name, store.folder)
        try:
            with stop_requests() as stop, contextlib.suppress(Stopped):
                tuner = Tuner(experiment.name, sweep, prepared, store, tracker, lanes, arguments.halving)
                tuner.run_all(stop, print)
        finally:
            tracker.finish()
    if stop():
        print("Stopped. Every finished run is kept; the same command goes on from here.", file=sys.stderr)
        return stop.exit_status
    return 0


def conclude(experiment, prepared, store: RunStore, arguments: argparse.Namespace) -> int:
    """Compare the methods, draw them, write the page, and export the adapters that peft can load."""
    from lora_jax.finetune.export import export_chosen
    from lora_jax.report.method_page import write_method_report
    from lora_jax.report.method_terminal import print_comparison
    from lora_jax.runs.tracker import open_tracker
    from lora_jax.scaling.methods.folder import write_comparison

    store.write_table()
    comparison = write_comparison(store.folder)
    page = write_method_report(store.folder)
    tracker = open_tracker(arguments.tracker, experiment.name, store.folder)
    tracker.log_comparison(comparison, sorted((store.folder / "figures").glob("*.png")))
    tracker.finish()
    print_comparison(comparison)
    for line in export_chosen(experiment.sweep, prepared, store):
        print(line)
    print(f"Report: {page}")
    return 0


def describe(
    experiment, arguments: argparse.Namespace, run_ids: list[str], data: dict[str, str]
) -> dict[str, object]:
    """Return what the results folder says of itself."""
    config = arguments.config.resolve()
    if config.is_relative_to(ROOT):
        config = config.relative_to(ROOT)
    options = [word for label in arguments.only for word in ("--only", f'"{label}"')]
    options += ["--lanes", arguments.lanes] if arguments.lanes != "auto" else []
    options += ["--halving"] if arguments.halving else []
    return {
        "name": experiment.name,
        "question": experiment.question,
        "command": " ".join(["./launch.sh finetune", str(config), *arguments.overrides, *options]),
        "overrides": list(arguments.overrides),
        "run_ids": run_ids,
        "data": data,
    }


if __name__ == "__main__":
    sys.exit(main())
