"""The cells of a study: what the runs of one base, task and set size share."""

from collections.abc import Callable
from pathlib import Path

from lora_jax.config import RunConfig, TaskConfig, run_id
from lora_jax.data.corpora import open_corpus
from lora_jax.data.tasks import load_task
from lora_jax.data.tasks.text import is_text, source_of
from lora_jax.digests import hash_file
from lora_jax.errors import LoraJaxError
from lora_jax.files import find_cache
from lora_jax.finetuning.execute import TuneCell
from lora_jax.finetuning.forgetting import SourceText, prepare_source
from lora_jax.finetuning.prepare import Prepared, prepare, require_base
from lora_jax.finetuning.study import FinetuneStudy
from lora_jax.huggingface.pretrained import find_base
from lora_jax.model.declare import count_parameters

Say = Callable[[str], None]


def open_tasks(study: FinetuneStudy, say: Say) -> None:
    """Check that all tasks can be read, before anything is trained.

    Of a task of text, only the source is opened.

    Raises:
        LoraJaxError: A task cannot be read.
    """
    for task in dict.fromkeys(arm.task for arm in study.arms):
        if is_text(task):
            open_corpus(source_of(task), find_cache(None), say, None)
        else:
            load_task(task)


def model_folder(study: FinetuneStudy, label: str, models: Path) -> Path | None:
    """Return the folder of a base that the study pretrained.

    None for any other base, whose name says where it is.
    """
    base = study.bases[label]
    return models / run_id(base) if isinstance(base, RunConfig) else None


def make_cells(study: FinetuneStudy, label: str, models: Path, say: Say) -> list[TuneCell]:
    """Load a base, and every task of its arms in all sizes. Weights are loaded once.

    Args:
        study: The study.
        label: The base.
        models: The folder of the bases that the study pretrained.
        say: Called with a line about each thing that takes time.

    Raises:
        LoraJaxError: The base or a task is missing, or they do not fit each other.
    """
    folder = model_folder(study, label, models)
    found: dict[TaskConfig, Prepared] = {}
    loaded: dict[int | None, Prepared] = {}  # one for each number of classes, because the heads differ
    source: SourceText | None = None
    told: set[str] = set()

    def say_once(line: str) -> None:
        if line not in told:
            told.add(line)
            say(line)

    cells = []
    for sweep in study.sweeps_of(label):
        if sweep.task not in found:
            n_classes = _count_classes(sweep.task)
            prepared = prepare(sweep.base, sweep.task, say_once, loaded.get(n_classes), folder)
            found[sweep.task] = loaded[n_classes] = prepared
        _check_shape(study, label, found[sweep.task])
        prepared, data = found[sweep.task], study.source_of(label)
        if data is not None and prepared.model.has_lm_head and source is None:
            source = prepare_source(prepared, data, say_once)
        of_cell = source if prepared.model.has_lm_head else None
        cells.append(TuneCell(sweep, prepared, of_cell, study.tokens_of(label), in_study=True))
    return cells


def _check_shape(study: FinetuneStudy, label: str, prepared: Prepared) -> None:
    """Refuse a base whose size differs from what the study says."""
    if label not in study.shapes:
        return
    said, found = (count_parameters(model).non_embedding for model in (study.shapes[label], prepared.model))
    if said != found:
        raise LoraJaxError(
            f"shapes says that the base {label!r} has {said:,} parameters without embeddings, and"
            f" {study.name_of(label)} has {found:,}: correct its shape, or leave it out."
        )


def _count_classes(task: TaskConfig) -> int | None:
    """Return the number of classes of a task with labels. None for a task of words."""
    if is_text(task):
        return None
    found = load_task(task)
    return len(found.labels) if found.kind == "classification" else None


def check_tokenizers(study: FinetuneStudy, models: Path, say: Say) -> None:
    """Refuse losses per token that cannot be compared, because two bases have different tokenizers.

    Losses of text are then compared in bits per byte. Losses of labels do not depend on tokens.

    Raises:
        LoraJaxError: A generation task would compare losses per token of different tokenizers.
    """
    files: dict[str, str] = {}
    for label in study.bases:
        folder = model_folder(study, label, models)
        if folder is None:
            require_base(study.name_of(label), say)
            folder = find_base(study.name_of(label))
        files[label] = hash_file(folder / "tokenizer.json")
    (first, own), *others = files.items()
    other = next((label for label, one in others if one != own), None)
    if other is None:
        return
    for arm in study.arms:
        if not is_text(arm.task) and arm.task.template is not None:
            raise LoraJaxError(
                f"the bases {first!r} and {other!r} have different tokenizers, so losses per token on"
                f" {arm.task.name!r} cannot be compared: study them apart, or on a task of text, whose losses"
                " are compared in bits per byte."
            )
    say(f"{first} and {other} have different tokenizers: losses of text are compared in bits per byte.")
