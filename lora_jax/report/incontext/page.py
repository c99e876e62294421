"""report.html of an in-context comparison: which way learns more from how many examples, at what cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_jax.comparison.gradient_results import GradientCosts
from lora_jax.comparison.incontext_documents import load_backward, load_incontext
from lora_jax.comparison.incontext_folder import read_records
from lora_jax.comparison.incontext_records import DealtRun, ScoredPrompt
from lora_jax.comparison.incontext_results import InContextComparison
from lora_jax.digests import read_object
from lora_jax.documents import from_document, reading
from lora_jax.errors import LoraJaxError
from lora_jax.identity import flatten
from lora_jax.report.incontext import plots, rows
from lora_jax.report.incontext.cost_plots import plot_cost
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.markup import to_markup
from lora_jax.report.kit.numbers import format_seconds
from lora_jax.report.kit.page_files import write_page
from lora_jax.report.kit.page_shell import (
    make_document,
    show_definitions,
    show_sentences,
    show_tables,
    show_warnings,
    unwrap,
)
from lora_jax.report.kit.settings import list_provenance, split_settings
from lora_jax.report.kit.sources import show_sources
from lora_jax.report.kit.tables import to_prose


@dataclass(frozen=True)
class InContextSweep:
    """What sweep.json says of the comparison. run_ids: the fine-tuning runs that it may come to."""

    name: str
    question: str
    command: str
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class InContextResults:
    """What the page is made from."""

    folder: Path
    sweep: InContextSweep
    found: InContextComparison
    backward: GradientCosts | None  # None: not measured
    prompts: Sequence[ScoredPrompt]
    runs: Sequence[DealtRun]


def write_incontext_report(folder: Path) -> Path:
    """Write figures/*.png, figures/*.svg and report.html into a results folder; return the page's path.

    Reads sweep.json, incontext.json, backward.json if it is there, prompts/ and runs/. Raises LoraJaxError
    naming a file that is missing or cannot be read.
    """
    results = read_incontext_results(Path(folder))
    drawings = list(draw_incontext(results.found, results.backward))
    return write_page(results.folder, drawings, lambda figures: make_incontext_page(results, figures))


def read_incontext_results(folder: Path) -> InContextResults:
    """Read a folder of an in-context comparison; raises LoraJaxError."""
    if not folder.is_dir():
        raise LoraJaxError(f"{folder} is not a folder: give a results folder, such as results/incontext.")
    sweep, found = _read_sweep(folder / "sweep.json"), load_incontext(folder)
    return InContextResults(folder, sweep, found, load_backward(folder), *read_records(folder))


def _read_sweep(path: Path) -> InContextSweep:
    document = read_object(path, "run `lora-jax incontext` first")
    with reading(path, "run the comparison again"):
        return from_document(InContextSweep, document)


def draw_incontext(found: InContextComparison, backward: GradientCosts | None) -> Iterator[Drawing]:
    """Draw every figure that the comparison can carry."""
    form = "; ".join(f"{p.task} {p.few_shot} against {p.fine_tuned}" for p in found.published)
    yield Drawing(
        "accuracy_vs_examples",
        "Accuracy against the number of examples",
        "Prompts and fine-tuning on the same examples and test set, with 95 % intervals of draws and test"
        " examples; dotted: chance. Where a model has no prompts, the band is the task's best prompt. The"
        f" form, as published for GPT-3, few-shot against fine-tuned, in percent: {form}. Whether two points"
        " differ is not read off their bars: the tables pair them.",
        plots.plot_accuracy(found),
    )
    for unit in ("seconds", "tokens"):
        yield Drawing(
            f"accuracy_vs_{unit}",
            f"Accuracy against the {unit} that it takes",
            f"The same points against the {unit} that learning and answering the whole test set take, each"
            " with the number of its examples, a panel for each way to learn with the others in grey:"
            " a prompt learns for nothing and is read again with the questions, a tuned model reads the"
            " questions alone. A head's answers are not timed by themselves. A number that finds no free"
            " place is left out.",
            plot_cost(found, unit),
        )
    if backward is not None:
        yield Drawing(
            "backward",
            "What a gradient costs over a forward pass",
            f"{backward.base}, {backward.batch_size} x {backward.seq_len} tokens: time of value and"
            " gradient over that of the loss, with its 95 % interval, and XLA's temporary memory of the two"
            " programs. Dashed: 3, as it is usually said.",
            plots.plot_backward(backward),
        )


def make_incontext_page(results: InContextResults, figures: str) -> str:
    """Return the page. figures: as HTML."""
    found, sweep = results.found, results.sweep
    scores = [rows.score_rows(task) for task in found.tasks]
    costs = [rows.cost_rows(task) for task in found.tasks]
    if results.backward is not None:
        costs.append(rows.backward_rows(results.backward))
    sections = [
        ("verdict", "Verdict", _verdict(results)),
        ("figures", "Figures", figures),
        ("scores", "Scores", show_tables(*scores, rows.published_rows(found))),
        ("costs", "Costs", show_tables(*costs)),
        ("runs", "Draws", show_tables(rows.draw_rows(found))),
        ("settings", "Settings", _settings(results)),
        ("provenance", "Provenance", _provenance(results)),
    ]
    sources = show_sources(results.folder, sweep.command, "docs/incontext.md")
    return make_document(sweep.name, "in-context learning", unwrap(sweep.question), sections, sources)


def _verdict(results: InContextResults) -> str:
    lines = list(results.found.warnings)
    counted = results.found.n_prompts, results.found.n_runs
    if counted != (len(results.prompts), len(results.runs)):
        lines.insert(0, "incontext.json was made from fewer or more runs than are there: compare them again.")
    planned = set(results.sweep.run_ids)
    missing = len(planned - {r.run.run_id for r in results.runs})
    if missing:
        lines.insert(
            0,
            f"Unfinished, or several rates were planned: {missing} of {len(planned)}"
            " fine-tuning runs that the config may come to are not here.",
        )
    return f"{_answers(results.found)}{show_warnings(lines)}"


def _answers(found: InContextComparison) -> str:
    """Return the verdict as HTML: the best prompt of each task, with what the other ways do beside it."""
    heads = tuple(f"{task.task}:" for task in found.tasks)
    groups: list[list[str]] = []
    for line in found.verdict:
        if not groups or line.startswith(heads):
            groups.append([])
        groups[-1].append(line)
    return "".join(
        f'<p class="verdict">{to_prose(first)}</p>\n{show_sentences(others)}' for first, *others in groups
    )


def _settings(results: InContextResults) -> str:
    parts = []
    prompts, _ = split_settings({r.run_id: r.settings for r in results.prompts})
    if prompts:
        parts += ["<h3>The same in every prompt</h3>", show_definitions(prompts.items())]
    by_task = {r.config.label: r.config.task_settings for r in results.prompts}
    for label, task in by_task.items():
        parts += [f"<h3>{to_markup(label)}</h3>", show_definitions(flatten(task).items())]
    tuned, _ = split_settings({r.run.run_id: r.run.config for r in results.runs})
    if tuned:
        parts += ["<h3>The same in every fine-tuning run</h3>", show_definitions(tuned.items())]
    methods = {
        f"{r.run.finetuning.base}, {r.run.finetuning.label}": ", ".join(
            f"{name} {value}" for name, value in flatten(r.run.finetuning.method).items()
        )
        for r in results.runs
    }
    if methods:
        parts += ["<h3>The methods</h3>", show_definitions(methods.items())]
    return "\n".join(parts)


def _provenance(results: InContextResults) -> str:
    records, sweep = [*results.prompts, *(r.run for r in results.runs)], results.sweep
    dates = sorted(record.created_at for record in records)
    asked = sum(r.seconds for r in results.prompts)
    facts = {
        "command": sweep.command,
        "prompts": f"{len(results.prompts)}, {format_seconds(asked)}",
        "fine-tuning runs": f"{len(results.runs)}, of which {results.found.n_diverged} diverged,"
        f" {format_seconds(sum(r.run.wall_seconds for r in results.runs))}",
        "first and last run": f"{dates[0]}, {dates[-1]}",
        **list_provenance(records),
    }
    return show_definitions(facts.items())
