"""Training and held-out documents. The hash of a document's content decides, and never a window."""

import array
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from lora_jax.data.corpora import Corpus
from lora_jax.data.documents import Documents
from lora_jax.data.progress import Progress
from lora_jax.data.readers.token_documents import TokenDocuments
from lora_jax.errors import LoraJaxError

DOCUMENT = np.dtype([("row", np.int64), ("n_bytes", np.int64), ("hash", np.uint64)])


@dataclass(frozen=True)
class SourceSplit:
    """The documents of one source as DOCUMENT records, each side in the order of `survey`.

    Attributes:
        name: Name of the source.
        texts: The documents, by row.
        train: Records of the training documents.
        heldout: Records of the held-out documents.
    """

    name: str
    texts: Documents | TokenDocuments
    train: np.ndarray
    heldout: np.ndarray


class SplitCorpora:
    """Several sources, split together. A text that is held out of one is held out of all.

    Nothing is read before `sources` is asked for. Then 24 bytes for each document are in memory.

    Attributes:
        corpora: The corpora to train on, then those that are held out whole, if there are any.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        heldout_fraction: float,
        say: Callable[[str], None],
        heldout_corpora: Sequence[Corpus] = (),
    ) -> None:
        """Take the corpora to train on, and what is held out.

        Args:
            corpora: The corpora to train on.
            heldout_fraction: Share of each corpus that is held out, if `heldout_corpora` is empty.
            say: Called with a line about each thing that takes time or deserves a note.
            heldout_corpora: Corpora that are held out whole.
        """
        self.corpora = (*corpora, *heldout_corpora)
        self._n_training = len(corpora)
        self._fraction = heldout_fraction
        self._say = say

    @property
    def identity(self) -> list[object]:
        """What the split follows from, for the keys of caches."""
        identities = [c.identity for c in self.corpora]
        if len(identities) > self._n_training:
            return ["split-1", identities[: self._n_training], identities[self._n_training :]]
        return ["split-1", identities, self._fraction]

    @cached_property
    def sources(self) -> tuple[SourceSplit, ...]:
        """The split of `corpora`. It is read once.

        Raises:
            LoraJaxError: A source has no document left for one side, or a held-out document is also trained
                on.
        """
        texts = [corpus.open() for corpus in self.corpora]
        documents = [self._survey(corpus, text) for corpus, text in zip(self.corpora, texts, strict=True)]
        self._say_shared(documents[: self._n_training])
        if len(self.corpora) == self._n_training:
            is_heldout = self._cut(texts, documents)
        else:
            self._refuse_trained(documents)
            is_heldout = [
                np.full(len(rows), number >= self._n_training) for number, rows in enumerate(documents)
            ]
        return tuple(
            SourceSplit(corpus.name, text, rows[~held], rows[held])
            for corpus, text, rows, held in zip(self.corpora, texts, documents, is_heldout, strict=True)
        )

    def _survey(self, corpus: Corpus, texts: Documents | TokenDocuments) -> np.ndarray:
        self._say(f"reading {corpus.name}")
        progress = Progress(f"reading {corpus.name}", len(texts), "documents", self._say)
        documents = survey(texts, progress)
        n_empty = len(texts) - len(documents)
        if not len(documents):
            raise LoraJaxError(
                f"All {n_empty} documents of the source {corpus.name!r} are empty: add text, or set its"
                " text_field to the field that holds the text."
            )
        if n_empty:
            self._say(f"{corpus.name}: {n_empty:,} of {len(texts):,} documents are empty and passed over")
        return documents

    def _cut(
        self, texts: Sequence[Documents | TokenDocuments], documents: list[np.ndarray]
    ) -> list[np.ndarray]:
        """Return for each source which of its documents are held out, of it or of another source."""
        cut = []
        for corpus, text, rows in zip(self.corpora, texts, documents, strict=True):
            choose = choose_last if is_in_pieces(text) else choose_heldout
            cut.append(choose(rows, self._fraction, corpus.name))
            if is_in_pieces(text):
                self._say(
                    f"{corpus.name}: nothing tells its documents apart, so its last tokens are held out"
                )
        is_heldout = [np.isin(rows["hash"], np.concatenate(cut)) for rows in documents]
        for corpus, held in zip(self.corpora, is_heldout, strict=True):
            if held.all():
                raise LoraJaxError(
                    f"All documents of the source {corpus.name!r} are held out of the other sources and none"
                    " is left for training: drop the source or lower data.heldout_fraction."
                )
        return is_heldout

    def _say_shared(self, documents: list[np.ndarray]) -> None:
        for one, other in combinations(range(len(documents)), 2):
            n_shared = len(np.intersect1d(documents[one]["hash"], documents[other]["hash"]))
            if n_shared:
                self._say(
                    f"{self.corpora[one].name} and {self.corpora[other].name} share {n_shared:,} documents of"
                    " equal text, which are drawn from both"
                )

    def _refuse_trained(self, documents: list[np.ndarray]) -> None:
        """Refuse held-out documents that are also trained on.

        Their loss would be too low, and nobody would notice.
        """
        trained = np.concatenate([rows["hash"] for rows in documents[: self._n_training]])
        for corpus, rows in list(zip(self.corpora, documents, strict=True))[self._n_training :]:
            n_trained = int(np.isin(rows["hash"], trained).sum())
            if n_trained:
                raise LoraJaxError(
                    f"{n_trained:,} of {len(rows):,} documents of {corpus.name!r} in data.heldout_sources are"
                    " in data.sources too, with equal text, and a loss on them would be too low: take them"
                    " out of one."
                )

    def iterate_training_text(self, max_bytes: int) -> Iterator[str]:
        """Yield training documents of every source of text in turn, from each at most about `max_bytes`."""
        for source in self.sources:
            if isinstance(source.texts, TokenDocuments):
                continue
            before = np.cumsum(source.train["n_bytes"]) - source.train["n_bytes"]
            rows = source.train["row"][before < max_bytes].tolist()
            # A source is read in its own order, but the documents come in the order of their hashes.
            texts = dict(zip(sorted(rows), source.texts.read(sorted(rows)), strict=True))
            yield from (texts.pop(row) for row in rows)


def batch_documents(documents: np.ndarray, n_bytes: int) -> Iterator[np.ndarray]:
    """Cut DOCUMENT records into runs of about `n_bytes`. A longer document is a run of its own."""
    before = np.cumsum(documents["n_bytes"]) - documents["n_bytes"]
    return iter(np.split(documents, 1 + np.flatnonzero(np.diff(before // n_bytes))))


def content_of(document: str | np.ndarray) -> bytes:
    """Return a text in UTF-8, or tokens in four bytes each."""
    return document.encode() if isinstance(document, str) else document.astype("<u4").tobytes()


def hash_content(content: bytes) -> int:
    """Return the hash by which contents are compared and ordered."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def survey(texts: Documents | TokenDocuments, progress: Progress) -> np.ndarray:
    """Return a DOCUMENT record of each document that is not empty, in the order of the contents' hashes.

    Pieces of running tokens stay in their own order.
    """
    columns = {name: array.array("q" if name != "hash" else "Q") for name in ("row", "n_bytes", "hash")}
    for row, text in enumerate(texts.read(range(len(texts)))):
        progress.add(1)
        content = content_of(text)
        if content:
            columns["row"].append(row)
            columns["n_bytes"].append(len(content))
            columns["hash"].append(hash_content(content))
    documents = np.empty(len(columns["row"]), DOCUMENT)
    for name, column in columns.items():
        documents[name] = np.frombuffer(column, dtype=DOCUMENT[name])
    if is_in_pieces(texts):
        return documents
    return documents[np.lexsort((documents["row"], documents["hash"]))]


def is_in_pieces(texts: Documents | TokenDocuments) -> bool:
    """Are the documents pieces of running tokens, which nothing tells apart?"""
    return isinstance(texts, TokenDocuments) and texts.in_pieces


def choose_last(documents: np.ndarray, fraction: float, name: str) -> np.ndarray:
    """Return the hashes of the last pieces of running tokens that together hold `fraction` of them.

    Raises:
        LoraJaxError: There is only one piece.
    """
    n_bytes = documents["n_bytes"][::-1]
    n_last = int(np.searchsorted(np.cumsum(n_bytes), fraction * n_bytes.sum())) + 1
    if len(documents) < 2:
        raise LoraJaxError(
            f"The source {name!r} has tokens of one piece and no documents are known, so nothing can be held"
            " out of it: add tokens, or name data.heldout_sources."
        )
    return documents["hash"][-min(n_last, len(documents) - 1) :]


def choose_heldout(documents: np.ndarray, fraction: float, name: str) -> np.ndarray:
    """Return the hashes of the held-out contents: the lowest ones, until they hold `fraction` of the bytes.

    Documents of equal content share a hash, so they are on one side. Each side has at least one content.

    Raises:
        LoraJaxError: All documents have equal content.
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
