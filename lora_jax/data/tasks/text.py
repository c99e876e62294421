"""Text without labels as a task: windows in which each token is predicted from those before it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lora_jax.config import DataConfig, SourceConfig, TaskConfig
from lora_jax.data import prepare as prepare_data
from lora_jax.data.batches import Dataset
from lora_jax.data.heldout import cut_windows
from lora_jax.data.order import order_key, permute
from lora_jax.data.tasks.encoding import Encoded
from lora_jax.data.tasks.load import DRAW
from lora_jax.data.tasks.task import TaskData
from lora_jax.errors import LoraJaxError

PREFIX = "text:"
MOST = 256  # windows of the dev split and of the test split, if the task does not say
SPARE = 4  # we look at so many times as many held-out windows as we take, because documents go to dev or test


class TextTask(NamedTuple):
    """A task of text, with its splits as windows of tokens.

    Attributes:
        data: The task.
        train: Training windows.
        dev: Dev windows.
        test: Test windows.
        bytes_per_token: Bytes of held-out text for each token.
    """

    data: TaskData
    train: Encoded
    dev: Encoded
    test: Encoded
    bytes_per_token: float | None


def is_text(task: TaskConfig) -> bool:
    """Is a task text without labels?"""
    return task.name.startswith(PREFIX)


def source_of(task: TaskConfig) -> SourceConfig:
    """Return the source of documents of a task of text."""
    return SourceConfig(name=task.name.removeprefix(PREFIX))


def load_text(task: TaskConfig, tokenizer: Path, vocab_size: int, say: Callable[[str], None]) -> TextTask:
    """Return windows of a source. The training windows are in an order that `data_seed` draws.

    The hash of a document's content decides whether it is held out. The first half of the held-out documents
    is for dev, and the others are for test. So no document is in two splits. Windows share their edge token,
    so each token is predicted once.

    Args:
        task: The task, "text:SOURCE".
        tokenizer: The base's tokenizer.json.
        vocab_size: Vocabulary size of the base.
        say: Called with a line about each thing that takes time.

    Raises:
        LoraJaxError: The source cannot be read, or has fewer windows or documents than are asked for.
    """
    _refuse_labels(task)
    source = source_of(task)
    seq_len = task.max_tokens - 1
    wanted = {"dev": task.n_dev or MOST, "test": task.n_test or MOST}
    data = DataConfig(
        sources=(source,),
        tokenizer=str(tokenizer),
        seq_len=seq_len,
        heldout_tokens=SPARE * sum(wanted.values()) * seq_len,
    )
    dataset = prepare_data(data, vocab_size, on_progress=say)
    heldout = _divide(dataset, task)
    splits = {
        name: _encode(dataset.heldout_WT[_spread(there, wanted[name])], seq_len)
        for name, there in heldout.items()
    }
    found = dataset.sources[0]
    described = TaskData(
        name=task.name,
        kind="text",
        labels=(),
        train=(),
        dev=(),
        test=(),
        fingerprint=f"{found.identity} {dataset.tokenizer.fingerprint}",
        text=dataset.describe() | {"tokenizer": tokenizer.name},  # records hold no path of this machine
    )
    return TextTask(described, _draw(dataset, task), **splits, bytes_per_token=dataset.bytes_per_token)


def encode_heldout(dataset: Dataset) -> Encoded:
    """Return the held-out windows of a dataset. Every token except the first is to be predicted."""
    return _encode(dataset.heldout_WT, dataset.config.seq_len)


def _refuse_labels(task: TaskConfig) -> None:
    wrong = [name for name in ("template", "answers", "chat") if getattr(task, name)]
    if wrong:
        raise LoraJaxError(
            f"task.{wrong[0]} is given, and {task.name!r} is text without questions or answers: leave it out."
        )
    if task.max_tokens < 3:
        raise LoraJaxError(
            f"task.max_tokens is {task.max_tokens}, and a window of text has at least 3: raise it."
        )


def _divide(dataset: Dataset, task: TaskConfig) -> dict[str, np.ndarray]:
    """Return the held-out windows of dev, from the first documents, and of test, from the others.

    Documents are in the order of their hashes. The last window of dev may reach into the first document of
    test, so it is left out.
    """
    documents_W = dataset.heldout_documents_W
    later = documents_W[documents_W > documents_W[len(documents_W) // 2 - 1]]
    first_of_test = later.min() if len(later) else documents_W.max()
    dev = np.flatnonzero(documents_W < first_of_test)[:-1]
    test = np.flatnonzero(documents_W >= first_of_test)
    if not len(dev):
        raise LoraJaxError(
            f"{task.name!r} has too few documents held out for a dev and a test split, which share none: give"
            " it more documents, or lower task.max_tokens."
        )
    return {"dev": dev, "test": test}


def _spread(there: np.ndarray, wanted: int) -> np.ndarray:
    """Return `wanted` of some windows, evenly spread, or all of them."""
    n = min(wanted, len(there))
    return there[np.arange(n) * len(there) // n]


def _draw(dataset: Dataset, task: TaskConfig) -> Encoded:
    """Return the training windows. A smaller number of them is a subset of a larger one."""
    seq_len, train = dataset.config.seq_len, dataset.sources[0].train
    n_there = (train.n_tokens - 1) // seq_len
    n_wanted = task.n_train or n_there
    if n_wanted > n_there:
        raise LoraJaxError(
            f"task.n_train is {n_wanted}, and {task.name!r} has {n_there} windows of task.max_tokens ="
            f" {task.max_tokens} to train on: lower it, or add text."
        )
    chosen = permute(np.arange(n_wanted), n_there, order_key(task.data_seed, DRAW, 0))
    return _encode(cut_windows(train.ids, chosen, seq_len), seq_len)


def _encode(windows_WT: np.ndarray, seq_len: int) -> Encoded:
    """Return windows (W, seq_len + 1) as rows in which only the first token is not predicted."""
    n = len(windows_WT)
    return Encoded(
        kind="generation",
        tokens=tuple(windows_WT.astype(np.int32)),
        types=tuple(np.zeros_like(windows_WT, np.int32)),
        n_prompt_N=np.ones(n, np.int32),
        example_N=np.arange(n, dtype=np.int32),
        labels_N=None,
        max_tokens=seq_len + 1,
        pad_id=0,
        n_cut=0,
    )
