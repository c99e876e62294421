"""How the runs of a recipe were trained, by the columns of their table and the records of a folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lora_jax.digests import read_object
from lora_jax.documents import from_document, reading
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.table_lag import find_folder, list_records

TOKENIZER, SCHEDULE, DEVICE, COOLED = "tokenizer", "schedule", "device", "cooled"
VOCABULARY = "vocab_size"


@dataclass(frozen=True)
class Settings:
    """What is known about how runs were trained. A set is empty if nobody says.

    Attributes:
        cooled: Share of the runs whose learning rate was decayed. None if nobody says.
        vocabularies: Tokenizers, or sizes of vocabularies.
        texts: What the loss was measured on.
        schedules: Schedules of the learning rate.
        devices: Devices.
    """

    cooled: float | None
    vocabularies: frozenset[str]
    texts: frozenset[str]
    schedules: frozenset[str]
    devices: frozenset[str]


@dataclass(frozen=True)
class SourceRecord:
    """A source of text, as it is in a record."""

    name: str
    identity: str | None = None
    heldout_tokens: int | None = None

    @property
    def words(self) -> str:
        """The held-out text, in words."""
        return " ".join(str(x) for x in (self.name, self.identity, self.heldout_tokens) if x is not None)


@dataclass(frozen=True)
class DataRecord:
    """The data of a run, as they are in its record."""

    tokenizer: str | None = None
    tokenizer_fingerprint: str | None = None
    sources: tuple[SourceRecord, ...] = ()


@dataclass(frozen=True)
class TrainedRecord:
    """What we need of a record, runs/RUN_ID.json."""

    run_id: str
    data: DataRecord | None = None


def settings_of(table: RunTable, path: Path | None) -> Settings:
    """Return how the runs of a table were trained; raises LoraJaxError for a damaged record."""
    cooled = table.columns.get(COOLED)
    vocabularies = _values(table, TOKENIZER) or _values(table, VOCABULARY)
    recorded, texts = _recorded(table, path)
    return Settings(
        None if cooled is None else float(np.mean(cooled > 0)),
        recorded or vocabularies,
        texts,
        _values(table, SCHEDULE),
        _values(table, DEVICE),
    )


def _values(table: RunTable, column: str) -> frozenset[str]:
    if column in table.labels:
        return frozenset(cell for cell in table.labels[column] if cell)
    if column in table.columns:
        return frozenset(f"{column} {x:g}" for x in table.columns[column])
    return frozenset()


def _recorded(table: RunTable, path: Path | None) -> tuple[frozenset[str], frozenset[str]]:
    """Return the tokenizers and the held-out texts that the records of a results folder say."""
    folder = None if path is None else find_folder(path)
    if folder is None:
        return frozenset(), frozenset()
    wanted, tokenizers, texts = set(table.run_ids), set(), set()
    for entry in list_records(folder):
        if entry.name.removesuffix(".json") not in wanted:
            continue
        again = "restore it, or delete it to train that run again"
        document = read_object(Path(entry.path), again)
        with reading(Path(entry.path), again):
            record = from_document(TrainedRecord, document)
        data = record.data
        if data is None:
            continue
        if data.tokenizer is not None:
            mark = f" ({data.tokenizer_fingerprint[:8]})" if data.tokenizer_fingerprint else ""
            tokenizers.add(data.tokenizer + mark)
        texts.update(source.words for source in data.sources)
    return frozenset(tokenizers), frozenset(texts)
