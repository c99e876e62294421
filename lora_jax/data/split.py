"""Train and held-out documents: chosen by the hash of a document's content, never by window."""

import array
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lora_jax.data.corpora import Corpus
from lora_jax.data.documents import Documents
from lora_jax.errors import LoraJaxError

DOCUMENT = np.dtype([("row", np.int64), ("n_bytes", np.int64), ("hash", np.uint64)])


@dataclass(frozen=True)
class SourceSplit:
    """The documents of one source as DOCUMENT records, each side in the order of their hashes."""

    name: str
    texts: Documents
    train: np.ndarray
    heldout: np.ndarray


class SplitCorpora:
    """Several sources, split together: a text that is held out of one is held out of all.

    Nothing is read before `sources` is asked for. A reading holds 24 bytes a document in memory.
    """

    def __init__(
        self, corpora: Sequence[Corpus], heldout_fraction: float, say: Callable[[str], None]
    ) -> None:
        self.corpora = tuple(corpora)
        self.heldout_fraction = heldout_fraction
        self._say = say

    @property
    def identity(self) -> list[object]:
        """What the split derives from, for the keys of caches."""
        return ["split-1", [c.identity for c in self.corpora], self.heldout_fraction]

    @cached_property
    def sources(self) -> tuple[SourceSplit, ...]:
        """The split, read once; LoraJaxError when a source has no document left for one of the sides."""
        texts, documents, heldout_hashes = [], [], []
        for corpus in self.corpora:
            self._say(f"reading {corpus.name}")
            texts.append(corpus.open())
            documents.append(survey(texts[-1]))
            n_empty = len(texts[-1]) - len(documents[-1])
            if n_empty == len(texts[-1]):
                raise LoraJaxError(
                    f"All {n_empty} documents of the source {corpus.name!r} are empty: add text, or set its"
                    " text_field to the field that holds the text."
                )
            if n_empty:
                self._say(
                    f"{corpus.name}: {n_empty:,} of {len(texts[-1]):,} documents are empty and passed over"
                )
            heldout_hashes.append(choose_heldout(documents[-1], self.heldout_fraction, corpus.name))
        everywhere = np.concatenate(heldout_hashes)
        splits = []
        for corpus, text, rows in zip(self.corpora, texts, documents, strict=True):
            is_heldout = np.isin(rows["hash"], everywhere)
            if is_heldout.all():
                raise LoraJaxError(
                    f"All documents of the source {corpus.name!r} are held out of the other sources and none"
                    " is left for training: drop the source or lower data.heldout_fraction."
                )
            splits.append(SourceSplit(corpus.name, text, rows[~is_heldout], rows[is_heldout]))
        return tuple(splits)

    def iterate_training_text(self, max_bytes: int) -> Iterator[str]:
        """Yield training documents of every source in turn, from each at most about `max_bytes`."""
        for source in self.sources:
            before = np.cumsum(source.train["n_bytes"]) - source.train["n_bytes"]
            rows = source.train["row"][before < max_bytes]
            # A source is read in its own order, and the documents come in that of their hashes.
            texts = dict(zip(sorted(rows.tolist()), source.texts.read(np.sort(rows).tolist()), strict=True))
            yield from (texts.pop(row) for row in rows.tolist())


def batch_documents(documents: np.ndarray, n_bytes: int) -> Iterator[np.ndarray]:
    """Cut DOCUMENT records into runs of about `n_bytes`, or of one document where that is longer."""
    before = np.cumsum(documents["n_bytes"]) - documents["n_bytes"]
    return iter(np.split(documents, 1 + np.flatnonzero(np.diff(before // n_bytes))))


def hash_content(content: bytes) -> int:
    """Return the hash by which contents are compared and ordered."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def survey(texts: Documents) -> np.ndarray:
    """Return a DOCUMENT record for each document that is not empty, in the order of the contents' hashes."""
    columns = {name: array.array("q" if name != "hash" else "Q") for name in ("row", "n_bytes", "hash")}
    for row, text in enumerate(texts.read(range(len(texts)))):
        content = text.encode()
        if content:
            columns["row"].append(row)
            columns["n_bytes"].append(len(content))
            columns["hash"].append(hash_content(content))
    documents = np.empty(len(columns["row"]), DOCUMENT)
    for name, column in columns.items():
        documents[name] = np.frombuffer(column, dtype=DOCUMENT[name])
    return documents[np.lexsort((documents["row"], documents["hash"]))]


def choose_heldout(documents: np.ndarray, fraction: float, name: str) -> np.ndarray:
    """Return the hashes of the held-out contents: the lowest, until they hold `fraction` of the bytes.

    Documents of equal content share a hash and so a side. At least one content is left on each side.
    """
    hashes, inverse = np.unique(documents["hash"], return_inverse=True)
    if len(hashes) < 2:
        raise LoraJaxError(
            f"The source {name!r} has {len(hashes)} document{'' if len(hashes) == 1 else 's'} of different"
            " content and a second one is needed to be held out: split the text into several files or"
            " add one."
        )
    n_bytes = np.bincount(inverse, weights=documents["n_bytes"])
    reached = np.searchsorted(np.cumsum(n_bytes), fraction * n_bytes.sum())
    return hashes[: min(int(reached) + 1, len(hashes) - 1)]
