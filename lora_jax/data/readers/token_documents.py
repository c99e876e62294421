"""Documents that are tokens already, by row. An index tells them apart, or a separator, or nothing does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from lora_jax.data.documents import Chained, Rows
from lora_jax.data.readers.token_files import TokenFile, open_token_file
from lora_jax.errors import LoraJaxError

# If nothing tells documents apart, we take pieces of this many tokens, in their order. The standard error of
# the held-out loss counts each piece as independent.
PIECE = 4096
CHUNK = 1 << 22  # number of tokens that are read together


class TokenDocuments:
    """The documents in files of tokens. Each is an array of ids, without the separators at its ends."""

    def __init__(self, paths: Sequence[Path], vocab_size: int, separator: int | None) -> None:
        """Take .bin files.

        Args:
            paths: The files.
            vocab_size: Every id must lie below it.
            separator: The id between two documents. None if it is not known.
        """
        self._paths, self._vocab_size, self._separator = paths, vocab_size, separator

    @cached_property
    def _scanned(self) -> tuple[list[TokenFile], bool]:
        """The files with the places of their documents, and whether these are pieces of running tokens."""
        files = [self._scan(open_token_file(path)) for path in self._paths]
        counts = [len(file.places) for file in files if file.places is not None]
        if len(counts) == len(files) and sum(counts) > len(files):
            return files, False
        return [replace(file, places=_cut_pieces(file.n_tokens)) for file in files], True

    @property
    def in_pieces(self) -> bool:
        """Whether documents are pieces of running tokens. Then the last ones are held out."""
        return self._scanned[1]

    @cached_property
    def _files(self) -> Chained[np.ndarray]:
        placed = [(file, file.places) for file in self._scanned[0] if file.places is not None]
        return Chained([_Placed(file, places, self._separator) for file, places in placed])

    def __len__(self) -> int:
        return len(self._files)

    def read(self, rows: Rows) -> Iterator[np.ndarray]:
        """Yield the ids of the documents of `rows`, which must ascend."""
        return self._files.read(rows)

    def _scan(self, file: TokenFile) -> TokenFile:
        """Check every id, and find the documents by their separators if there is no index."""
        found = []
        with file.path.open("rb") as content:
            content.seek(file.first)
            for start in range(0, file.n_tokens, CHUNK):
                ids = np.fromfile(content, file.dtype, min(CHUNK, file.n_tokens - start))
                self._check(ids, start, file.path)
                if self._separator is not None:
                    found.append(start + np.flatnonzero(ids == self._separator))
        if file.places is not None or not found:
            return file
        starts = np.concatenate([[0], np.concatenate(found) + 1])
        places = np.stack([starts, np.append(starts[1:] - 1, file.n_tokens)], axis=1)
        return replace(file, places=places[places[:, 1] > places[:, 0]])

    def _check(self, ids: np.ndarray, start: int, path: Path) -> None:
        if len(ids) and (ids.max() >= self._vocab_size or ids.min() < 0):
            at = int(np.flatnonzero((ids >= self._vocab_size) | (ids < 0))[0])
            raise LoraJaxError(
                f"{path} has the id {int(ids[at])} as token {start + at:,}, and data.tokenizer has"
                f" {self._vocab_size:,} tokens: name the tokenizer that made it, or write it again."
            )


@dataclass(frozen=True)
class _Placed:
    """The documents of one file, with known places."""

    file: TokenFile
    places: np.ndarray
    separator: int | None

    def __len__(self) -> int:
        return len(self.places)

    def read(self, rows: Rows) -> Iterator[np.ndarray]:
        file = self.file
        with file.path.open("rb") as content:
            for start, end in self.places[np.asarray(rows, np.int64)].tolist():
                content.seek(file.first + start * file.dtype.itemsize)
                yield self._strip(np.fromfile(content, file.dtype, end - start))

    def _strip(self, ids: np.ndarray) -> np.ndarray:
        if self.separator is None:
            return ids
        inside = np.flatnonzero(ids != self.separator)
        return ids[inside[0] : inside[-1] + 1] if len(inside) else ids[:0]


def _cut_pieces(n_tokens: int) -> np.ndarray:
    starts = np.arange(0, n_tokens, PIECE)
    return np.stack([starts, np.minimum(starts + PIECE, n_tokens)], axis=1)
