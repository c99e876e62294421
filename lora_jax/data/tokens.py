"""The token store: every source's documents as memory-mapped ids, written once and found by content."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lora_jax.config import digest
from lora_jax.data.cache import explain_disk_errors, publish_folder
from lora_jax.data.split import SourceSplit, SplitCorpora, batch_documents
from lora_jax.data.tokenizers import Tokenizer, id_dtype

FORMAT = "tokens-1"
# First token, bytes of text, and hash of the content of one document.
STORED = np.dtype([("start", np.int64), ("n_bytes", np.int64), ("hash", np.uint64)])
SIDES = ("train", "heldout")
SAY_SECONDS = 5.0


@dataclass(frozen=True)
class TokenStream:
    """Documents one after the other, each followed by the separator."""

    tokens: np.ndarray  # (n_tokens,) unsigned, memory-mapped
    documents: np.ndarray  # (n_documents,) of STORED, memory-mapped
    n_bytes: int  # of text, separators not counted


@dataclass(frozen=True)
class SourceTokens:
    """One source's tokens, both sides of the split."""

    name: str
    identity: str
    train: TokenStream
    heldout: TokenStream


def load_tokens(
    split: SplitCorpora, tokenizer: Tokenizer, cache: Path, say: Callable[[str], None]
) -> tuple[SourceTokens, ...]:
    """Return every source's tokens, tokenising them when the cache does not hold them.

    A store is a folder that appears whole or not at all; processes that build the same one at once agree.
    """
    key = digest([FORMAT, split.identity, tokenizer.fingerprint], length=32)
    folder = cache / "tokens" / key
    if not is_whole(folder):
        with publish_folder(folder, is_whole) as temporary, explain_disk_errors(folder.parent):
            _write_store(temporary, split, tokenizer, say)
    return _open_store(folder, [c.name for c in split.corpora])


def is_whole(folder: Path) -> bool:
    """Return whether every file of a store is there with the size that its meta.json, written last, says."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in meta["files"].items())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, KeyError):
        return False


def _write_store(folder: Path, split: SplitCorpora, tokenizer: Tokenizer, say: Callable[[str], None]) -> None:
    meta: dict[str, Any] = {
        "dtype": id_dtype(tokenizer.vocab_size).name,
        "tokenizer": tokenizer.fingerprint,
        "sources": [],
        "files": {},
    }
    for number, (corpus, source) in enumerate(zip(split.corpora, split.sources, strict=True)):
        say(f"tokenising {corpus.name}")
        for side in SIDES:
            names = [f"{number}-{side}.{kind}" for kind in ("tokens", "documents")]
            with open(folder / names[0], "wb") as tokens, open(folder / names[1], "wb") as documents:
                _write_side(source, side, tokenizer, tokens, documents, say)
                for file in (tokens, documents):
                    file.flush()
                    os.fsync(file.fileno())
            meta["files"] |= {name: (folder / name).stat().st_size for name in names}
        n_bytes = {side: int(getattr(source, side)["n_bytes"].sum()) for side in SIDES}
        meta["sources"].append({"identity": corpus.identity, "n_bytes": n_bytes})
    (folder / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


def _write_side(
    source: SourceSplit,
    side: str,
    tokenizer: Tokenizer,
    tokens: BinaryIO,
    documents: BinaryIO,
    say: Callable[[str], None],
) -> None:
    """Encode one side of a source batch by batch, so that the text never lies in memory whole."""
    dtype = id_dtype(tokenizer.vocab_size)
    separator = dtype.type(tokenizer.separator).tobytes()
    rows = getattr(source, side)
    total, done, start, said = int(rows["n_bytes"].sum()), 0, 0, time.monotonic()
    for batch in batch_documents(rows):
        encoded = tokenizer.encode_batch(source.texts.read(batch["row"].tolist()))
        lengths = np.array([len(ids) + 1 for ids in encoded])
        stored = np.empty(len(batch), STORED)
        stored["n_bytes"], stored["hash"] = batch["n_bytes"], batch["hash"]
        stored["start"] = start + np.cumsum(lengths) - lengths
        start += int(lengths.sum())
        documents.write(stored.tobytes())
        for ids in encoded:
            tokens.write(ids.astype(dtype, copy=False).tobytes() + separator)
        done += int(batch["n_bytes"].sum())
        if time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            say(f"tokenising, {side} text: {done / 1e6:.0f} of {total / 1e6:.0f} MB")


def _open_store(folder: Path, names: list[str]) -> tuple[SourceTokens, ...]:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    sources = []
    for number, (name, about) in enumerate(zip(names, meta["sources"], strict=True)):
        streams = {
            side: TokenStream(
                _map(folder / f"{number}-{side}.tokens", np.dtype(meta["dtype"])),
                _map(folder / f"{number}-{side}.documents", STORED),
                about["n_bytes"][side],
            )
            for side in SIDES
        }
        sources.append(SourceTokens(name, about["identity"], streams["train"], streams["heldout"]))
    return tuple(sources)


def _map(path: Path, dtype: np.dtype) -> np.ndarray:
    """Memory-map a file as a plain array: indexing the memmap class itself costs three times as much."""
    return np.asarray(np.memmap(path, dtype, mode="r"))
