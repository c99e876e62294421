"""A fine-tuning experiment from a base, a file of rows and a method, as a config file would return it."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lora_jax.config import TaskConfig
from lora_jax.data.tasks.load import read_source
from lora_jax.data.tasks.task import Source, TaskData
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig, default_rates
from lora_jax.finetuning.experiment import FinetuneExperiment
from lora_jax.huggingface.checkpoints.folder import read_model_config
from lora_jax.huggingface.packages import PACKAGES
from lora_jax.huggingface.pretrained import find_base
from lora_jax.huggingface.tokenizer import load_tokenizer
from lora_jax.peft.method import MethodConfig
from lora_jax.peft.methods import find_methods
from lora_jax.runs.sweep import overlay, parse_overrides

RANK = 16
MAX_TOKENS = 512
FEWEST = 20  # fewest rows that we cut into splits
MOST_HELD_OUT = 256  # most rows in a dev or test split that we cut


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks for. None leaves a default, which `make_experiment` chooses.

    Attributes:
        base: A packaged model, a folder, or a hub id.
        data: A file of rows, or a folder of splits.
        method: The method's name, such as "lora".
        rank: The method's rank.
        epochs: Passes over the training rows.
        steps: Number of steps, in place of epochs.
        rates: Learning rates. If there are several, the dev split chooses.
        seed: Seed of the splits, of new weights and of the order.
        max_tokens: Longest row.
        form: Whether prompts follow the chat template ("chat") or stay as they are ("plain").
    """

    base: str
    data: Path
    method: str = "lora"
    rank: int | None = None
    epochs: int | None = None
    steps: int | None = None
    rates: tuple[float, ...] = ()
    seed: int = 0
    max_tokens: int | None = None
    form: Literal["chat", "plain"] | None = None


def make_experiment(asked: Asked, overrides: Sequence[str] = ()) -> FinetuneExperiment:
    """Return the experiment. Its question lists everything that was chosen. The base has to be there.

    Args:
        asked: What the command line asks for.
        overrides: `field=value` of the sweep. They come last.

    Raises:
        LoraJaxError: The data, base or method does not exist, the rows are no task, or there are too few to
            cut splits.
    """
    if not asked.data.exists():
        raise LoraJaxError(f"there is no {asked.data}: give --data a file of rows, or a folder of splits.")
    method = choose_method(asked.method, asked.rank)
    source = read_source(f"files:{asked.data}")
    _refuse_few(asked, source)
    sweep = FinetuneSweep(
        base=asked.base,
        task=_choose_task(asked, source),
        methods={asked.method: method},
        seeds=(asked.seed,),
        optim=TuneConfig(evaluations=5, n_completions=16, steps=asked.steps, epochs=asked.epochs or 3),
        rates={asked.method: asked.rates or default_rates(method)[:1]},
    )
    sweep = overlay(sweep, parse_overrides(overrides, FinetuneSweep))
    return FinetuneExperiment(_name(asked), "\n".join(_describe(sweep, source)), sweep)


def _describe(sweep: FinetuneSweep, source: Source) -> list[str]:
    """Return sentences about what was chosen."""
    about = f", {PACKAGES[sweep.base].about}" if sweep.base in PACKAGES else ""
    optim, task = sweep.optim, sweep.task
    length = f"{optim.steps} steps" if optim.steps else f"{optim.epochs} epochs"
    (rates,) = sweep.rates.values()
    if source.kind == "classification":
        form = "text and label, for a classification head that is new and trains too"
    elif source.is_chat:
        form = "messages, by the base's chat template; the loss is on the assistant's answers"
    elif task.chat:
        form = (
            "a prompt is asked as the user, the completion is the assistant's answer, by the base's chat"
            " template (--form plain: as they are)"
        )
    else:
        form = "prompt and completion as they are, without a chat template"
    return [
        f"Base: {sweep.base}{about}.",
        f"Method: {', '.join(map(str, sweep.methods.values()))}.",
        f"Training: {length} of batches of {optim.batch_size}, seed {', '.join(map(str, sweep.seeds))},"
        f" learning rate {' or '.join(f'{rate:g}' for rate in rates)}, warmed up and then linear to zero.",
        f"Rows: {form}. They are cut to {task.max_tokens} tokens.",
    ]


def describe_splits(sweep: FinetuneSweep, task: TaskData) -> str:
    """Return a sentence about the number of rows in each split, and how missing splits were cut."""
    cut = [split for split in ("dev", "test") if any(n.startswith(f"{split} is cut") for n in task.notes)]
    how = f"; {' and '.join(cut)} cut from {task.name.partition(':')[2]} with seed {sweep.task.data_seed}"
    return (
        f"{len(task.train)} rows to train on, {len(task.dev)} for dev, {len(task.test)} for test"
        f"{how if cut else ''}."
    )


def choose_method(name: str, rank: int | None) -> MethodConfig:
    """Return a method by its name in any case.

    LoRA and its kin adapt every matrix, with alpha twice the rank.

    Raises:
        LoraJaxError: There is no such method, or it has no rank.
    """
    known: dict[str, Any] = {key.lower(): kind for key, kind in find_methods().items() if key != "Combined"}
    if name.lower() not in known:
        raise LoraJaxError(
            f"--method is {name!r}{nearest(name.lower(), known)}, but it must be one of {', '.join(known)}."
        )
    kind = known[name.lower()]
    fields = {field.name for field in dataclasses.fields(kind)}
    if rank is not None and "rank" not in fields:
        raise LoraJaxError(f"--rank is {rank}, and {kind.__name__} has no rank: leave it out.")
    if "alpha" in fields:
        chosen = rank or RANK
        return kind(rank=chosen, alpha=2.0 * chosen, targets=("all",))
    return kind() if rank is None else kind(rank=rank)


def _refuse_few(asked: Asked, source: Source) -> None:
    missing = [split for split in ("dev", "test") if split not in source.splits]
    n_rows = len(source.splits["train"])
    if missing and n_rows < FEWEST:
        raise LoraJaxError(
            f"{asked.data} has {n_rows} rows, from which {' and '.join(missing)} are cut: at least {FEWEST}"
            " are wanted, so that each has two; add rows."
        )


def _choose_task(asked: Asked, source: Source) -> TaskConfig:
    """Return the task. If a split is cut from many rows, it has MOST_HELD_OUT rows in place of a tenth."""
    folder = find_base(asked.base)
    is_large = len(source.splits["train"]) > 10 * MOST_HELD_OUT
    held_out: dict[str, Any] = {
        f"n_{split}": MOST_HELD_OUT for split in ("dev", "test") if is_large and split not in source.splits
    }
    return TaskConfig(
        name=f"files:{asked.data}",
        data_seed=asked.seed,
        max_tokens=asked.max_tokens or min(MAX_TOKENS, read_model_config(folder).context),
        chat=_choose_form(asked, source, load_tokenizer(folder).chat is not None),
        **held_out,
    )


def _choose_form(asked: Asked, source: Source, has_template: bool) -> bool:
    """Return whether prompts follow the chat template. By default they do if the base has one."""
    if source.kind == "classification" and asked.form is not None:
        raise LoraJaxError(f"--form is {asked.form}, and {asked.data} has labels: leave it out.")
    if source.is_chat and asked.form == "plain":
        raise LoraJaxError(f"--form is plain, and {asked.data} holds messages: leave it out.")
    if asked.form == "chat" and not has_template:
        raise LoraJaxError(f"--form is chat, and {asked.base} has no chat template: leave it out.")
    is_text = source.kind == "generation" and not source.is_chat
    return is_text and has_template and asked.form != "plain"


def _name(asked: Asked) -> str:
    words = (asked.data.stem, Path(asked.base).name, asked.method)
    return "-".join(re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words)
