"""SST-2 and RTE (GLUE, arXiv 1804.07461) from .tsv files, and the columns of GLUE's sets."""

from pathlib import Path
from typing import NamedTuple

from lora_jax.data.tasks.cells import read_records
from lora_jax.data.tasks.place import find_folder
from lora_jax.data.tasks.task import Row, Source
from lora_jax.errors import LoraJaxError


class Columns(NamedTuple):
    """The columns of a set, and its split with public labels.

    GLUE keeps the labels of its test splits secret.

    Attributes:
        text: The column of the sentence, or of the first one.
        pair: The column of the second sentence.
        validation: The split with public labels that we test on.
    """

    text: str
    pair: str | None = None
    validation: str = "validation"


# The names are those of tensorflow-datasets. STS-B is missing, because it is a regression.
GLUE = {
    "cola": Columns("sentence"),
    "sst2": Columns("sentence"),
    "mrpc": Columns("sentence1", "sentence2"),
    "qqp": Columns("question1", "question2"),
    "mnli": Columns("premise", "hypothesis", "validation_matched"),
    "qnli": Columns("question", "sentence"),
    "rte": Columns("sentence1", "sentence2"),
    "wnli": Columns("sentence1", "sentence2"),
}
SPLITS = ("train", "dev", "test")
TEST_NOTE = "test is GLUE's validation set, the labels of its own test set being secret"


def read_sst2() -> Source:
    """Read SST-2, sentiment of phrases of film reviews: train, dev (cut from GLUE's train) and test."""
    return read_sentiment(find_folder("sst2", "tfds:glue/sst2"), "sst2", TEST_NOTE)


def read_sentiment(folder: Path, name: str, note: str) -> Source:
    """Read train.tsv, dev.tsv and test.tsv of a folder in SST-2's form: a sentence, and the label 0 or 1."""
    labels = {"0": "negative", "1": "positive"}
    splits = {split: _read_split(folder / f"{split}.tsv", "sst2", labels) for split in SPLITS}
    return Source(name, "classification", tuple(labels.values()), splits, "sentence", notes=(note,))


def read_rte() -> Source:
    """Read RTE (does the first sentence entail the second?): train, and dev.tsv as the test split."""
    folder = find_folder("rte", "tfds:glue/rte")
    labels = {name: name for name in ("entailment", "not_entailment")}
    splits = {
        name: _read_split(folder / file, "rte", labels)
        for name, file in (("train", "train.tsv"), ("test", "dev.tsv"))
    }
    return Source(
        "rte", "classification", tuple(labels), splits, "sentence1", "sentence2", notes=(TEST_NOTE,)
    )


def _read_split(path: Path, name: str, labels: dict[str, str]) -> tuple[Row, ...]:
    columns = [column for column in GLUE[name][:2] if column]
    rows = []
    for one in read_records([path]).records:
        fields = {column: one.get_text(column).strip() for column in (*columns, "label")}
        label = fields.pop("label")
        if label not in labels:
            raise LoraJaxError(
                f"{one.where} has the label {label!r}, which is not one of {', '.join(labels)}:"
                " mend that line."
            )
        rows.append(Row(one.number, fields, labels[label], None))
    return tuple(rows)
