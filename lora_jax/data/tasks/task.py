"""What a labelled task is: rows as a source gives them, and examples as training and evaluation read them."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Kind = Literal["classification", "generation", "text"]  # text: windows, of which every token is predicted


class Row(NamedTuple):
    """One row of a source: its columns, and what is to be predicted from them."""

    number: int  # of the line or row in the source, for messages
    fields: dict[str, str]  # the columns that a template may name
    label: str | None  # the label's name, for classification
    completion: str | None  # for generation


@dataclass(frozen=True)
class Source:
    """A task as it was read, before anything is drawn, cut or formatted."""

    name: str
    kind: Kind
    labels: tuple[str, ...]  # names in the order of their numbers; empty for generation
    splits: dict[str, tuple[Row, ...]]  # "train" and, where the source has them, "dev" and "test"
    text: str  # the column that is the input, where there is no template
    pair: str | None = None  # the column of the second sentence
    template: str | None = None  # the source's own
    notes: tuple[str, ...] = ()
    is_instruction: bool = False  # `text` is Alpaca's prompt, made of an instruction and its input
    is_chat: bool = False  # the input is a conversation, which the base's chat template renders

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

    A label's number for classification; for generation `references`, the texts that would be right, as they
    are to follow the prompt (a leading space included), of which `completion` is the first. In a training
    split every reference is an example of its own, elsewhere all references of an input are one example.
    """

    text: str
    pair: str | None = None
    label: int | None = None
    completion: str | None = None
    references: tuple[str, ...] = ()

    @property
    def input(self) -> tuple[str, str | None]:
        """What the model is shown: examples of equal input must not be in two splits."""
        return self.text, self.pair


@dataclass(frozen=True)
class TaskData:
    """A task, ready to be encoded."""

    name: str
    kind: Kind
    labels: tuple[str, ...]  # empty for a task that has none
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    fingerprint: str  # of all that was read, whatever was drawn of it
    notes: tuple[str, ...] = ()
    text: Mapping[str, Any] | None = None  # of a task of text: `data.Dataset.describe` of its source

    def describe(self) -> dict[str, Any]:
        """Return what the task is, ready for JSON: per split its size, inputs, references or label counts."""
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
