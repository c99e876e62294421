"""The token store: every source's documents as memory-mapped ids, written once and found by their content."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lora_jax.config import digest
from lora_jax.data.blocks import HASH, CheckedArray, hash_blocks
from lora_jax.data.cache import explain_disk_errors, publish_folder
from lora_jax.data.encoding import encode_source
from lora_jax.data.split import SplitCorpora
from lora_jax.data.spool import Spool, spool_folder
from lora_jax.data.tokenizers import Tokenizer, id_dtype
from lora_jax.digests import hash_file, read_sealed, to_sealed_json
from lora_jax.errors import LoraJaxError

FORMAT = "tokens-1"
# What we store of each document: its first token, the bytes of its text, and the hash of its content.
STORED = np.dtype([("start", np.int64), ("n_bytes", np.int64), ("hash", np.uint64)])
SIDES = ("train", "heldout")
DOCUMENTS = 1 << 16  # number of documents that we place together
HASHES = ".hashes"  # ending of the file that holds the hashes of another file's blocks

Say = Callable[[str], None]


@dataclass(frozen=True)
class TokenStream:
    """Documents one after the other, read when needed. The separator follows each, if one is known.

    Attributes:
        ids: The token ids, (n_tokens,), unsigned.
        places: The documents, (n_documents,) of STORED.
        n_bytes: Bytes of text, without separators. None if the text is not known.
    """

    ids: CheckedArray
    places: CheckedArray
    n_bytes: int | None

    @property
    def n_tokens(self) -> int:
        """Number of tokens."""
        return len(self.ids)

    @property
    def n_documents(self) -> int:
        """Number of documents."""
        return len(self.places)

    @property
    def tokens(self) -> np.ndarray:
        """All tokens, (n_tokens,). Every one of them is read and checked."""
        return self.ids.read_all()

    @property
    def documents(self) -> np.ndarray:
        """All documents, (n_documents,) of STORED."""
        return self.places.read_all()


@dataclass(frozen=True)
class SourceTokens:
    """The tokens of one source.

    Attributes:
        name: Name of the source.
        identity: Hash of its content.
        train: The training documents.
        heldout: The held-out documents.
    """

    name: str
    identity: str
    train: TokenStream
    heldout: TokenStream


def load_tokens(split: SplitCorpora, tokenizer: Tokenizer, cache: Path, say: Say) -> tuple[SourceTokens, ...]:
    """Return every source's tokens. Tokenise them if the cache does not hold them.

    A store is a folder that appears whole or not at all. Processes that build the same store at once agree.
    We make a store again from the text, to the same bits, if it is damaged or if an older version wrote it
    without hashes of its blocks. Damage may be found now, or when a block is first read.
    """
    key = digest([FORMAT, split.identity, tokenizer.fingerprint], length=32)
    folder = cache / "tokens" / key
    if not is_whole(folder):
        if folder.exists():
            say(f"{folder} is damaged, or an older version wrote it without hashes: it is made again")
        _make_store(folder, split, tokenizer, say, is_whole)
    renew = partial(_renew_store, folder, split, tokenizer, say)
    return _open_store(folder, [c.name for c in split.corpora], renew)


def _make_store(
    folder: Path, split: SplitCorpora, tokenizer: Tokenizer, say: Say, is_good: Callable[[Path], bool]
) -> None:
    with (
        publish_folder(folder, is_good) as temporary,
        explain_disk_errors(folder.parent),
        spool_folder(folder.parent.parent, folder.name) as spools,
    ):
        _write_store(temporary, split, tokenizer, spools, say)


def _renew_store(folder: Path, split: SplitCorpora, tokenizer: Tokenizer, say: Say, damaged: Path) -> None:
    """Make a store again because a block of it is damaged, unless another process has done so."""
    if is_sound(folder):
        return
    say(f"{damaged} is damaged: the tokens are made again from the text")
    _make_store(folder, split, tokenizer, say, is_sound)


def is_whole(folder: Path) -> bool:
    """Is a store's meta.json, which is written last, sound, and has every file the size that it says?

    We read the hashes of the blocks, and not the tokens.
    """
    return _read_whole(folder) is not None


def is_sound(folder: Path) -> bool:
    """Is a store whole, and is every block of it what was written? All of it is read."""
    meta = _read_whole(folder)
    return meta is not None and all(
        np.array_equal(hash_blocks(folder / name), _read_hashes(folder / name)) for name in meta["files"]
    )


def _read_whole(folder: Path) -> dict[str, Any] | None:
    """Return the meta.json of a store that is whole. None for any other."""
    meta = read_sealed(folder / "meta.json")
    if meta is None:
        return None
    try:
        sizes = {name: (folder / name).stat().st_size for name in meta["files"]}
        hashes = {name: hash_file(folder / (name + HASHES)) for name in meta["hashes"]}
    except OSError:
        return None
    return meta if sizes == meta["files"] and hashes == meta["hashes"] else None


def _write_store(folder: Path, split: SplitCorpora, tokenizer: Tokenizer, spools: Path, say: Say) -> None:
    dtype = id_dtype(tokenizer.vocab_size)
    separator = b"" if tokenizer.separator is None else dtype.type(tokenizer.separator).tobytes()
    meta: dict[str, Any] = {
        "dtype": dtype.name,
        "tokenizer": tokenizer.fingerprint,
        "sources": [],
        "files": {},
        "hashes": {},
    }
    for number, (corpus, source) in enumerate(zip(split.corpora, split.sources, strict=True)):
        with contextlib.closing(Spool(spools / str(number), dtype)) as spool:
            spooled = Spooled(spool, encode_source(source, tokenizer, spool, say)["row"])
            n_bytes = {}
            for side in SIDES:
                names = [f"{number}-{side}.{kind}" for kind in ("tokens", "documents")]
                with open(folder / names[0], "wb") as tokens, open(folder / names[1], "wb") as documents:
                    n_bytes[side] = spooled.write_side(getattr(source, side), tokens, documents, separator)
                    for file in (tokens, documents):
                        file.flush()
                        os.fsync(file.fileno())
                for name in names:
                    meta["files"][name] = (folder / name).stat().st_size
                    meta["hashes"][name] = _write_hashes(folder / name)
        known = tokenizer.count_bytes([]) is not None
        meta["sources"].append({"identity": corpus.identity, "n_bytes": n_bytes if known else None})
    (folder / "meta.json").write_text(to_sealed_json(meta), encoding="utf-8")


class Spooled:
    """A spool whose documents are found by row."""

    def __init__(self, spool: Spool, rows: np.ndarray) -> None:
        """Take a spool and the rows of its documents, which ascend."""
        self._spool, self._rows, self._encoded = spool, rows, spool.read_documents()
        self._starts = np.cumsum(self._encoded["n_tokens"]) - self._encoded["n_tokens"]

    def write_side(self, documents: np.ndarray, tokens: BinaryIO, places: BinaryIO, separator: bytes) -> int:
        """Write the documents of one side in the order of their hashes. Return the bytes of their texts."""
        start, n_bytes = 0, 0
        for first in range(0, len(documents), DOCUMENTS):  # a list of all documents would take much memory
            some = documents[first : first + DOCUMENTS]
            at = np.searchsorted(self._rows, some["row"])
            encoded = self._encoded[at]
            stored = np.empty(len(some), STORED)
            stored["n_bytes"], stored["hash"] = encoded["n_bytes"], some["hash"]
            ends = start + np.cumsum(encoded["n_tokens"] + bool(separator))
            stored["start"] = np.concatenate([[start], ends[:-1]])
            places.write(stored.tobytes())
            for place, n_tokens in zip(self._starts[at].tolist(), encoded["n_tokens"].tolist(), strict=True):
                tokens.write(self._spool.read_tokens(place, n_tokens))
                tokens.write(separator)
            start, n_bytes = int(ends[-1]), n_bytes + int(encoded["n_bytes"].sum())
        return n_bytes


def _write_hashes(path: Path) -> str:
    """Write the hashes of a file's blocks into a file beside it. Return the hash of the new file."""
    beside = path.with_name(path.name + HASHES)
    beside.write_bytes(hash_blocks(path).tobytes())
    return hash_file(beside)


def _read_hashes(path: Path) -> np.ndarray:
    return np.fromfile(path.with_name(path.name + HASHES), HASH)


def _open_store(folder: Path, names: list[str], renew: Callable[[Path], None]) -> tuple[SourceTokens, ...]:
    meta = read_sealed(folder / "meta.json")
    if meta is None:  # it was whole a moment ago
        raise LoraJaxError(f"{folder} was taken away while it was opened: run the same command again.")
    sources = []
    for number, (name, about) in enumerate(zip(names, meta["sources"], strict=True)):
        streams = {
            side: TokenStream(
                _map(folder / f"{number}-{side}.tokens", np.dtype(meta["dtype"]), renew),
                _map(folder / f"{number}-{side}.documents", STORED, renew),
                about["n_bytes"][side] if about["n_bytes"] else None,
            )
            for side in SIDES
        }
        sources.append(SourceTokens(name, about["identity"], streams["train"], streams["heldout"]))
    return tuple(sources)


def _map(path: Path, dtype: np.dtype, renew: Callable[[Path], None]) -> CheckedArray:
    return CheckedArray(path, dtype, _read_hashes(path), renew)
