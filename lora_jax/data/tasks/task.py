"""What a labelled task is: rows as a source gives them, and examples as training and evaluation read them."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Kind = Literal["classification", "generation", "text"]  # "text" has windows in which every token is predicted


class Row(NamedTuple):
    """One row of a source: its columns, and what is to be predicted from them.

    Attributes:
        number: Number of the line or row in the source, for messages.
        fields: The columns that a template may name.
        label: Name of the label, for classification.
        completion: The text to generate, for generation.
    """

    number: int
    fields: dict[str, str]
    label: str | None
    completion: str | None


@dataclass(frozen=True)
class Source:
    """A task as it was read, before anything is drawn, cut or formatted.

    Attributes:
        name: Name of the task.
        kind: What is to be predicted.
        labels: Names of the labels, in the order of their numbers. Empty for generation.
        splits: The rows of "train" and, if the source has them, of "dev" and "test".
        text: The column that is the input if there is no template.
        pair: The column of the second sentence.
        template: The source's own template.
        notes: What deserves a note, in sentences.
        is_instruction: Whether `text` is Alpaca's prompt, made of an instruction and its input.
        is_chat: Whether the input is a conversation, which the base's chat template renders.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    splits: dict[str, tuple[Row, ...]]
    text: str
    pair: str | None = None
    template: str | None = None
    notes: tuple[str, ...] = ()
    is_instruction: bool = False
    is_chat: bool = False

    @property
    def fingerprint(self) -> str:
        """A hash of everything that was read."""
        content = hashlib.sha256(json.dumps([self.kind, self.labels]).encode())
        for split, rows in sorted(self.splits.items()):
            content.update(json.dumps([split, len(rows)]).encode())
            for row in rows:
                fields = sorted(row.fields.items())
                content.update(json.dumps([fields, row.label, row.completion]).encode())
        return content.hexdigest()[:32]


class Example(NamedTuple):
    """One input and its answer.

    In a training split every reference is an example of its own. Elsewhere all references of an input are one
    example.

    Attributes:
        text: The input, or its first sentence.
        pair: The second sentence.
        label: Number of the label, for classification.
        completion: The first of the references, for generation.
        references: The texts that would be right, as they follow the prompt, with a leading space if there is
            one.
    """

    text: str
    pair: str | None = None
    label: int | None = None
    completion: str | None = None
    references: tuple[str, ...] = ()

    @property
    def input(self) -> tuple[str, str | None]:
        """What the model is shown. Examples of equal input must not be in two splits."""
        return self.text, self.pair


@dataclass(frozen=True)
class TaskData:
    """A task, ready to be encoded.

    Attributes:
        name: Name of the task.
        kind: What is predicted.
        labels: Names of the labels. Empty for a task that has none.
        train: Training examples.
        dev: Dev examples.
        test: Test examples.
        fingerprint: A hash of everything that was read, whatever was drawn from it.
        notes: What deserves a note, in sentences.
        text: For a task of text, `data.Dataset.describe` of its source.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    text: Mapping[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """Return what the task is, ready for JSON.

        Each split has its size, inputs, and references or label counts.
        """
        return {
            "name": self.name,
            "kind": self.kind,
            "labels": list(self.labels),
            "fingerprint": self.fingerprint,
            "notes": list(self.notes),
        } | ({"text": dict(self.text)} if self.text is not None else self._describe_splits())

    def _describe_splits(self) -> dict[str, Any]:
        splits = {"train": self.train, "dev": self.dev, "test": self.test}
        return {
            "splits": {name: self._describe(examples) for name, examples in splits.items()},
        }

    def _describe(self, examples: tuple[Example, ...]) -> dict[str, Any]:
        content = {"examples": len(examples), "inputs": len({e.input for e in examples})}
        if self.kind == "generation":
            content["references"] = sum(len(e.references) for e in examples)
        if not self.labels:
            return content
        counts = Counter(e.label for e in examples)
        return content | {"labels": {name: counts[number] for number, name in enumerate(self.labels)}}
