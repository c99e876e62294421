"""lora-jax finetune: adapt a pretrained model to a task by the methods of a config file, and compare them."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.caller import INSTALLED, Caller

if TYPE_CHECKING:
    from lora_jax.comparison.results import MethodComparison
    from lora_jax.runs.store import RunStore


def add(commands: Any) -> None:
    add_options(
        commands.add_parser(
            "finetune", help="adapt a pretrained model by the methods of a config, and compare them"
        ),
        INSTALLED,
    )


def add_options(parser: argparse.ArgumentParser, caller: Caller) -> None:
    """Add the arguments of `run` to a parser."""
    parser.add_argument("config", type=Path, help="a config file, such as configs/peft_sst2.py")
    parser.add_argument("overrides", nargs="*", metavar="field=value", help="laid over the sweep")
    parser.add_argument(
        "--only", action="append", default=[], metavar="LABEL", help="this method alone (again: more)"
    )
    parser.add_argument(
        "--out", type=Path, help=f"the results folder (default: results/CONFIG of {caller.place})"
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
    parser.add_argument(
        "--dry-run", action="store_true", help="print what each method trains, check all, train nothing"
    )
    parser.add_argument(
        "--tracker", choices=("wandb", "off"), default="wandb", help="default: wandb, offline"
    )
    parser.set_defaults(run=run, caller=caller)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.finetune.config import finetune_id
    from lora_jax.finetune.experiment import load_finetuning
    from lora_jax.finetune.prepare import prepare
    from lora_jax.finetune.table import print_methods
    from lora_jax.runs.execute import use_compilation_cache
    from lora_jax.runs.experiment import read_lanes
    from lora_jax.runs.store import RunStore

    lanes = read_lanes(arguments.lanes)
    experiment = load_finetuning(arguments.config, arguments.overrides, arguments.only)
    store = RunStore(arguments.out or arguments.caller.results(experiment.name))
    run_ids = [finetune_id(run) for run in experiment.sweep.runs()]
    store.check(experiment.name, run_ids, make=False)  # before the base is loaded
    use_compilation_cache()
    print(experiment.question, end="\n\n", flush=True)
    prepared = prepare(experiment.sweep.base, experiment.sweep.task, print)
    print_methods(experiment.sweep, prepared)
    if arguments.dry_run:
        check(experiment, prepared, store, arguments, lanes)
        return 0
    status = train(experiment, prepared, store, arguments, lanes)
    if status:
        return status
    return conclude(experiment, prepared, store, arguments)


def check(experiment, prepared, store: "RunStore", arguments: argparse.Namespace, lanes: int | None) -> None:
    """Refuse what training would refuse before its first step."""
    from lora_jax.finetune.execute import SideBySide, Tuner
    from lora_jax.runs.tracker import open_tracker, read_mode

    read_mode(arguments.tracker)
    store.check_text(fingerprints(experiment, prepared))
    tracker = open_tracker("off", experiment.name, store.folder)
    Tuner(experiment, prepared, store, tracker, SideBySide(lanes, arguments.halving)).check()


def fingerprints(experiment, prepared) -> dict[str, str]:
    """Return what the task and the base held, for the run store to compare with later."""
    from lora_jax.config import digest, to_dict

    return {digest(to_dict(experiment.sweep.task)): digest([prepared.task.fingerprint, prepared.fingerprint])}


def train(experiment, prepared, store: "RunStore", arguments: argparse.Namespace, lanes: int | None) -> int:
    """Train what is not finished; return the exit status, that of the signal where one stopped it."""
    from lora_jax.finetune.config import finetune_id
    from lora_jax.finetune.execute import SideBySide, Tuner
    from lora_jax.runs.signals import stop_requests
    from lora_jax.runs.tracker import open_tracker
    from lora_jax.train.side_by_side import Stopped

    sweep = experiment.sweep
    run_ids = [finetune_id(run) for run in sweep.runs()]
    store.check(experiment.name, run_ids)
    with store.locked():
        store.claim(describe(experiment, arguments, run_ids, fingerprints(experiment, prepared)))
        tracker = open_tracker(arguments.tracker, experiment.name, store.folder)
        try:
            with stop_requests() as stop, contextlib.suppress(Stopped):
                tuner = Tuner(experiment, prepared, store, tracker, SideBySide(lanes, arguments.halving))
                tuner.run_all(stop, print)
        finally:
            tracker.finish()
    if stop():
        print("Stopped. Every finished run is kept; the same command goes on from here.", file=sys.stderr)
        return stop.exit_status
    return 0


def conclude(experiment, prepared, store: "RunStore", arguments: argparse.Namespace) -> int:
    """Compare the methods, draw them, write the page, and export the adapters that peft can load."""
    from lora_jax.comparison.folder import write_comparison
    from lora_jax.finetune.export import export_chosen
    from lora_jax.report.methods.page import write_method_report
    from lora_jax.report.methods.terminal import print_comparison
    from lora_jax.runs.tracker import open_tracker

    store.write_table()
    comparison = write_comparison(store.folder)
    page = write_method_report(store.folder)
    tracker = open_tracker(arguments.tracker, experiment.name, store.folder)
    facts = {"metric": comparison.metric, "reference": comparison.reference}
    columns, rows = tracked_methods(comparison)
    tracker.log_comparison(facts, columns, rows, sorted((store.folder / "figures").glob("*.png")))
    tracker.finish()
    print_comparison(comparison)
    for line in export_chosen(experiment.sweep, prepared, store):
        print(line)
    print(f"Report: {page}")
    return 0


def tracked_methods(found: "MethodComparison") -> tuple[list[str | int], list[list[Any]]]:
    """Return (columns, rows) of the methods that have a score, as a dashboard shows them."""
    columns: list[str | int] = [
        "method", "trainable", "FLOPs of full", "learning rate", "seeds", "value", "low", "high"
    ]  # fmt: skip
    rows = [
        [m.label, m.n_trainable, m.flops_share, m.best_rate, m.n_seeds, m.score.value, *m.score.interval]
        for m in found.methods if m.score is not None
    ]  # fmt: skip
    return columns, rows


def describe(
    experiment, arguments: argparse.Namespace, run_ids: list[str], data: dict[str, str]
) -> dict[str, object]:
    """Return what the results folder says of itself."""
    options = [word for label in arguments.only for word in ("--only", f'"{label}"')]
    options += ["--lanes", arguments.lanes] if arguments.lanes != "auto" else []
    options += ["--halving"] if arguments.halving else []
    return {
        "name": experiment.name,
        "question": experiment.question,
        "command": arguments.caller.spell("finetune", arguments.config, [*arguments.overrides, *options]),
        "overrides": list(arguments.overrides),
        "run_ids": run_ids,
        "data": data,
    }
