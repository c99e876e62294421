"""From a TaskConfig to its TaskData: read, format, cut the missing splits, and draw."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lora_jax.config import TaskConfig
from lora_jax.data.order import order_key, permute
from lora_jax.data.tasks import instructions
from lora_jax.data.tasks.benchmark import ASIDE
from lora_jax.data.tasks.chat import Conversation
from lora_jax.data.tasks.e2e import read_e2e
from lora_jax.data.tasks.files import read_files
from lora_jax.data.tasks.glue import read_rte, read_sst2
from lora_jax.data.tasks.place import VARIABLE, describe_place, is_absent
from lora_jax.data.tasks.qa import read_qa
from lora_jax.data.tasks.sample import NAME, read_sample
from lora_jax.data.tasks.sets import read_set
from lora_jax.data.tasks.task import Example, Row, Source, TaskData
from lora_jax.data.tasks.template import Template, parse_template
from lora_jax.data.tasks.xsum import read_xsum
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.files import find_cache

NAMED = {
    "sst2": read_sst2,
    "rte": read_rte,
    "e2e": read_e2e,
    "qa": read_qa,
    "xsum": read_xsum,
    NAME: read_sample,
}
# The same tasks in tensorflow-datasets. Its e2e_cleaned, squad and xsum have other rows than ours.
SETS = {"sst2": "glue/sst2", "rte": "glue/rte"}
KINDS = (
    *NAMED,
    "tfds:glue/sst2",
    "tfds:glue/rte",
    "tfds:glue/mnli",
    "tfds:e2e_cleaned",
    "tfds:squad",
    "tfds:xsum",
    "files:FOLDER",
    "text:SOURCE",
)
# Names of the shuffles. Each split is cut and drawn by its own, so that no count changes the draw of another.
CUT, DRAW = 0, 1
SPLITS = ("train", "dev", "test")
CUT_SHARE = 10  # one input in so many goes to a split that the source lacks


def load_task(
    config: TaskConfig,
    cache_dir: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    *,
    for_prompts: bool = False,
) -> TaskData:
    """Return the task that `config` names. Equal configs and sources give equal examples on every machine.

    With a template, a classification task becomes one of generation, in which the label's name follows the
    prompt.

    Args:
        config: The task.
        cache_dir: The folder of derived files.
        say: Called with a line about each thing that takes time.
        for_prompts: Whether nothing will be trained. A benchmark then gives the rows that it sets aside as
            its train split.

    Raises:
        LoraJaxError: The task is unknown, or its source is missing, damaged, or a benchmark that would be
            trained on. For prompts, it has only a train split. A template does not fit, a text or split is
            empty, or more examples are asked for than there are.
    """
    source = read_source(config.name, cache_dir, say)
    template = config.template if config.template is not None else source.template
    prompt = None if template is None else parse_template(template)
    _check_answers(source, config.answers)
    if source.is_chat and prompt is not None:
        raise LoraJaxError(
            f"task.template is {template!r}, and {source.name!r} holds messages, which the base's chat"
            " template renders: leave it out, or write the rows as prompt and completion."
        )
    if config.chat and source.kind != "generation":
        raise LoraJaxError(
            f"task.chat is true, and {source.name!r} has labels and no completions: leave it out, or write"
            " the rows as prompt and completion."
        )
    rows = {split: _format(source, split, prompt, config) for split in source.splits}
    if ASIDE in rows:
        if not for_prompts:
            raise LoraJaxError(
                f"The task {source.name!r} is for evaluation and has no train split: take a task that may be"
                " trained on, or show its examples in prompts (lora-jax evaluate)."
            )
        rows["train"] = rows.pop(ASIDE)
    if for_prompts and not {"dev", "test"} & set(rows):
        raise LoraJaxError(
            f"The task {source.name!r} has a train split alone and no validation split to be evaluated on:"
            " add a dev or a test file to it."
        )
    asked = [note for note in source.notes if not (config.chat and note == instructions.NOTE)]
    notes = [*asked, *_count_overlaps(rows)]
    wanted = {"train": config.n_train, "dev": config.n_dev, "test": config.n_test}
    for number, split in enumerate(SPLITS):
        if split not in rows:
            rows["train"], rows[split] = _cut(rows["train"], wanted[split], split, config.data_seed, number)
            notes.append(f"{split} is cut from train, no input being in both")
    kind = source.kind if config.template is None else "generation"
    if source.kind == "generation":
        rows |= {split: gather_references(rows[split]) for split in ("dev", "test")}
    drawn = {
        split: _draw(rows[split], wanted[split], split, config.data_seed, number)
        for number, split in enumerate(SPLITS)
    }
    return TaskData(
        name=source.name,
        kind=kind,
        labels=source.labels,
        train=drawn["train"],
        dev=drawn["dev"],
        test=drawn["test"],
        fingerprint=source.fingerprint,
        notes=tuple(notes),
    )


def read_source(
    name: str, cache_dir: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> Source:
    """Return the task's source, whole and not formatted.

    Raises:
        LoraJaxError: The task is unknown, or its source is missing or damaged.
    """
    kind, _, rest = name.partition(":")
    if name in SETS and is_absent(name):
        return _fetch(name, find_cache(cache_dir), say)
    if name in NAMED:
        return NAMED[name]()
    if kind == "tfds" and rest:
        return read_set(rest, find_cache(cache_dir), say)
    if kind == "files" and rest:
        return read_files(rest)
    if kind == "text" and rest:
        raise LoraJaxError(
            f"task.name is {name!r}, which is text without questions or answers and serves to fine-tune a"
            " language model: name a labelled task here."
        )
    raise LoraJaxError(f"task.name is {name!r}{nearest(name, KINDS)}: it must be one of {', '.join(KINDS)}.")


def _fetch(name: str, cache: Path, say: Callable[[str], None]) -> Source:
    """Return a task that is not on this machine from tensorflow-datasets. A note says so."""
    place = f"The task {name!r} is not in {describe_place()}"
    try:
        found = read_set(SETS[name], cache, say)
    except LoraJaxError as error:
        raise LoraJaxError(
            f"{place}; and from tensorflow-datasets: {error} Or set {VARIABLE} to a folder that holds"
            f" {name}/; {NAME!r} is a task that ships."
        ) from error
    note = f"{place}: it is read as {found.name}, another source with splits and a fingerprint of its own"
    return replace(found, notes=(note, *found.notes))


def _check_answers(source: Source, answers: tuple[str, ...] | None) -> None:
    if answers is not None and len(answers) != len(source.labels):
        raise LoraJaxError(
            f"task.answers has {len(answers)} words and {source.name!r} has {len(source.labels)} labels"
            f" ({', '.join(source.labels) or 'none'}): give one answer for each label, in that order."
        )


def _format(source: Source, split: str, prompt: Template | None, config: TaskConfig) -> tuple[Example, ...]:
    rows = source.splits[split]
    if not rows:
        raise LoraJaxError(f"The split {split!r} of the task {source.name!r} is empty: give it rows.")
    return tuple(_format_row(source, split, row, prompt, config) for row in rows)


def _format_row(source: Source, split: str, row: Row, prompt: Template | None, config: TaskConfig) -> Example:
    where = f"Row {row.number} of split {split!r} of the task {source.name!r}"
    columns = [source.text] if source.pair is None else [source.text, source.pair]
    if prompt is None:
        for column in columns:
            if not row.fields.get(column, "").strip():
                near = "" if column in row.fields else nearest(column, row.fields)
                raise LoraJaxError(
                    f"{where} has no text in {column!r}{near}: fill it, take the row away, or give the column"
                    " of the inputs that name."
                )
    text = row.fields[source.text] if prompt is None else prompt.fill(row.fields)
    if source.kind == "generation":
        # A file's completion is already as it follows the prompt. For a task with a template of its own we
        # add the space.
        answer = row.completion or ""
        completion = prompt.follow(answer) if prompt is not None and source.template is not None else answer
        if config.chat and not source.is_chat:
            if prompt is None and source.is_instruction:
                text = instructions.write_question(row.fields)
            text, completion = Conversation.of([{"role": "user", "content": text}]), completion.strip()
        return Example(text, completion=completion, references=(completion,))
    label = source.labels.index(str(row.label))
    if prompt is None:
        pair = None if source.pair is None else row.fields[source.pair]
        return Example(text, pair, label)
    completion = prompt.follow((config.answers or source.labels)[label])
    return Example(text, None, label, completion, (completion,))


def _count_overlaps(rows: dict[str, tuple[Example, ...]]) -> list[str]:
    """Say which inputs the source itself has in two splits. They stay as the source has them."""
    inputs = {split: {e.input for e in examples} for split, examples in rows.items()}
    pairs = [(a, b) for a in SPLITS for b in SPLITS if SPLITS.index(a) < SPLITS.index(b)]
    shared = {(a, b): len(inputs[a] & inputs[b]) for a, b in pairs if a in inputs and b in inputs}
    return [f"{n} inputs are in both {a} and {b} of the source" for (a, b), n in shared.items() if n]


def _cut(
    examples: tuple[Example, ...], wanted: int | None, split: str, seed: int, number: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Return (what stays, what is cut off).

    Whole inputs are cut off: `wanted` of them, or one in CUT_SHARE.
    """
    inputs = list(dict.fromkeys(map(_group, examples)))
    n_cut = max(1, len(inputs) // CUT_SHARE) if wanted is None else wanted
    if n_cut >= len(inputs):
        raise LoraJaxError(
            f"task.n_{split} is {n_cut}, to be cut from the {len(inputs)} different inputs of train, and one"
            f" must be left: lower it, or give the task a {split} split."
        )
    order = permute(np.arange(n_cut), len(inputs), order_key(seed, CUT, number))
    chosen = {inputs[i] for i in order.tolist()}
    stays = tuple(e for e in examples if _group(e) not in chosen)
    return stays, tuple(e for e in examples if _group(e) in chosen)


def _group(example: Example) -> tuple[str, str | None]:
    """Return what examples that belong together share: the input, or the opening of a conversation."""
    text, pair = example.input
    return (text.opening if isinstance(text, Conversation) else text), pair


def gather_references(examples: Sequence[Example]) -> tuple[Example, ...]:
    """Return one example for each input, with all references that its rows have."""
    references: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for example in examples:
        references[example.input] += example.references
    first = {example.input: example for example in reversed(examples)}
    return tuple(
        first[key]._replace(completion=texts[0], references=tuple(texts)) for key, texts in references.items()
    )


def _draw(
    examples: tuple[Example, ...], wanted: int | None, split: str, seed: int, number: int
) -> tuple[Example, ...]:
    """Return `wanted` of the examples, the first ones of a shuffle. None returns all in their own order."""
    if wanted is None:
        return examples
    if wanted > len(examples):
        raise LoraJaxError(
            f"task.n_{split} is {wanted} and there are {len(examples)}: lower it to at most that, or leave"
            " it out."
        )
    order = permute(np.arange(wanted), len(examples), order_key(seed, DRAW, number))
    return tuple(examples[i] for i in order.tolist())
