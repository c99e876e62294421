"""lora-jax incontext: in-context learning beside fine-tuning, with the same model and examples."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.caller import INSTALLED, Caller
from lora_jax.commands.training import Origin, describe_sweep, say, tell_status, until_stopped
from lora_jax.commands.working import Conclusion, add_workers, is_launch, launch_and_show, work_on

if TYPE_CHECKING:
    from lora_jax.prompting.incontext.config import BackwardPlan, InContextConfig
    from lora_jax.prompting.incontext.experiment import InContextExperiment
    from lora_jax.prompting.incontext.sources import Sources
    from lora_jax.runs.store import RunStore

PAGE = "report.html"


def add(commands: Any) -> None:
    add_options(
        commands.add_parser(
            "incontext",
            help="compare in-context learning with fine-tuning",
            description="Compare in-context learning with fine-tuning on the same model and the same"
            " examples. If you stop it, run it again: it skips finished runs.",
        ),
        INSTALLED,
    )


def add_options(parser: argparse.ArgumentParser, caller: Caller) -> None:
    """Add the arguments of `run` to a parser."""
    parser.add_argument("config", type=Path, help="config file, such as configs/incontext.py")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TASK",
        help="run only this task; repeat the option for more (default: all tasks)",
    )
    parser.add_argument(
        "--stage",
        action="append",
        default=[],
        metavar="STAGE",
        help="run only this stage: prompts, tuning or backward; repeat the option for more (default: all)",
    )
    parser.add_argument(
        "--out", type=Path, help=f"results folder (default: results/CONFIG in {caller.place})"
    )
    parser.add_argument("--dry-run", action="store_true", help="print every run and its cost; run nothing")
    parser.add_argument(
        "--report", action="store_true", help="compare and draw the finished runs; run nothing"
    )
    add_workers(parser)
    parser.set_defaults(run=run, caller=caller, command="incontext")


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.prompting.incontext.experiment import keep, load_incontext
    from lora_jax.prompting.incontext.plan import check, list_tunings
    from lora_jax.prompting.incontext.sources import Sources
    from lora_jax.runs.execute import use_compilation_cache
    from lora_jax.runs.store import RunStore

    experiment = load_incontext(arguments.config)
    wanted = keep(experiment.config, arguments.only, arguments.stage)
    store = RunStore(arguments.out or arguments.caller.results(experiment.name))
    print(experiment.question, end="\n\n", flush=True)
    if arguments.report:
        write(store.folder)
        return show(store.folder)
    store.try_write()  # before a base is loaded
    conclusion = Conclusion((PAGE,), lambda: write(store.folder), lambda: show(store.folder))
    if is_launch(arguments):
        return launch_and_show(arguments, store.folder, conclusion)
    use_compilation_cache()
    sources = Sources(experiment.config, say)
    check(experiment.config, sources)
    run_ids = [run.run_id for run in list_tunings(experiment.config, sources)]
    store.check(experiment.name, run_ids, make=False)
    store.check_text(sources.fingerprints())
    if arguments.dry_run:
        return show_plan(wanted, sources)
    store.check(experiment.name, run_ids)
    return work_on(
        arguments,
        store,
        [*run_ids, *arguments.only, *arguments.stage],
        lambda: make_runs(experiment, wanted, sources, store, arguments),
        conclusion,
    )


def show_plan(config: "InContextConfig", sources: "Sources") -> int:
    """Print every run with its steps, tokens and time by this machine's speed."""
    from lora_jax.layout import draw, fill
    from lora_jax.prompting.incontext.plan import list_shots, list_tunings, price_shots, price_tunings
    from lora_jax.runs.progress import format_duration

    planned = price_shots(list_shots(config), sources, set())
    planned += price_tunings(list_tunings(config, sources), sources, set())
    rows = [
        (item.description, f"{item.n_steps:,}", f"{item.own_tokens:,}", format_duration(item.seconds))
        for item in planned
    ]
    print("\n".join(draw(("run", "steps", "tokens", "time"), rows, {1, 2, 3})))
    total = format_duration(sum(item.seconds for item in planned))
    print(fill(f"{len(planned)} runs, about {total}; of several learning rates one goes on to further draws"))
    return 0


def make_runs(
    experiment: "InContextExperiment",
    wanted: "InContextConfig",
    sources: "Sources",
    store: "RunStore",
    arguments: argparse.Namespace,
) -> int:
    """Make what is not finished; return the exit status, that of the signal where one stopped it."""
    from lora_jax.prompting.incontext.execute import Comparison
    from lora_jax.prompting.incontext.plan import list_tunings

    run_ids = [run.run_id for run in list_tunings(experiment.config, sources)]
    origin = Origin(_spell(arguments))
    store.claim(describe_sweep(experiment, run_ids, sources.fingerprints(), origin))
    with until_stopped() as stop:
        comparison = Comparison(experiment.name, wanted, sources, store)
        comparison.prompts.check(experiment.config)
        if wanted.backward is not None:
            with store.alone("measuring-backward", say):
                measure(wanted.backward, sources, store.folder)
        comparison.run_all(stop, say)
    return tell_status(stop)


def measure(plan: "BackwardPlan", sources: "Sources", folder: Path) -> None:
    """Measure the backward's cost once; backward.json of the same settings is found again."""
    from lora_jax.comparison.gradient_results import FORMAT, KIND, GradientCosts
    from lora_jax.comparison.incontext_documents import BACKWARD, save_backward
    from lora_jax.config import to_dict
    from lora_jax.peft.methods import method_to_dict
    from lora_jax.prompting.incontext.backward import measure_backward
    from lora_jax.runs.provenance import describe_commit, describe_device, describe_versions
    from lora_jax.runs.store import read_json

    path = folder / BACKWARD
    methods = {label: method_to_dict(method) for label, method in plan.methods.items()}
    settings = json.loads(json.dumps({**vars(plan), "methods": methods}))
    if path.exists() and read_json(path).get("settings") == settings:
        return
    prepared = sources.get_any(plan.base)
    measured = measure_backward(
        prepared.model, prepared.base, plan.methods, plan.batch_size, plan.seq_len, plan.repeats, print
    )
    costs = GradientCosts(
        kind=KIND,
        base=plan.base,
        model=to_dict(prepared.model),
        settings=settings,
        batch_size=plan.batch_size,
        seq_len=plan.seq_len,
        repeats=plan.repeats,
        methods=measured,
        device=describe_device(),
        versions=describe_versions(),
        git_commit=describe_commit(),
        format=FORMAT,
    )
    save_backward(folder, costs)


def write(folder: Path) -> None:
    """Compare what is finished, draw it, and write the page."""
    from lora_jax.commands.table_options import renew_table
    from lora_jax.comparison.incontext_folder import write_incontext
    from lora_jax.report.incontext.page import write_incontext_report

    write_incontext(folder)
    renew_table(folder)
    write_incontext_report(folder)


def show(folder: Path) -> int:
    """Print the tables of the comparison, and where its page lies."""
    from lora_jax.comparison.incontext_documents import load_backward, load_incontext
    from lora_jax.report.incontext.terminal import print_incontext

    print_incontext(load_incontext(folder), load_backward(folder))
    print(f"Report: {folder / PAGE}")
    return 0


def _spell(arguments: argparse.Namespace) -> str:
    """Return the command that is kept with the results."""
    words = [word for task in arguments.only for word in ("--only", f'"{task}"')]
    words += [word for stage in arguments.stage for word in ("--stage", stage)]
    return arguments.caller.spell("incontext", arguments.config, words)
