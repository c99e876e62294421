"""Every document of a source to tokens, once: in the order of its rows, on all cores, in bounded memory."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

from lora_jax.data.split import SourceSplit, batch_documents, hash_content
from lora_jax.data.spool import Spool
from lora_jax.data.tokenizers import Tokenizer
from lora_jax.errors import LoraJaxError

PART_BYTES = 32_000_000  # what a killed process does again at most
BATCH_BYTES = 1_000_000  # encoded together: enough to keep every core at work
BATCHES_AHEAD = 4
THREADS = 2  # one turns ids into arrays while the library, on all cores, encodes the other's batch
SAY_SECONDS = 5.0

Say = Callable[[str], None]


def encode_source(source: SourceSplit, tokenizer: Tokenizer, spool: Spool, say: Say) -> np.ndarray:
    """Fill a spool with the documents of both sides; return their DOCUMENT records in the spool's order.

    Raises:
        LoraJaxError: a text is another than it was when the source was split.
    """
    documents = np.concatenate([source.train, source.heldout])
    documents = documents[np.argsort(documents["row"], kind="stable")]
    left = documents[spool.n_documents :]
    texts = source.texts.read(left["row"].tolist())
    progress = Progress(int(documents["n_bytes"].sum()), int(left["n_bytes"].sum()), source.name, say)
    with ThreadPoolExecutor(THREADS) as pool:
        for part in batch_documents(left, PART_BYTES):
            batches = (
                (batch, list(islice(texts, len(batch)))) for batch in batch_documents(part, BATCH_BYTES)
            )
            for batch, ids in _run_ahead(pool, batches, tokenizer, source.name):
                spool.write(ids, batch["n_bytes"])
                progress.add(int(batch["n_bytes"].sum()))
            spool.end_part()
    return documents


def _run_ahead(
    pool: ThreadPoolExecutor,
    batches: Iterator[tuple[np.ndarray, list[str]]],
    tokenizer: Tokenizer,
    name: str,
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yield each batch with its ids, in order, while a few others are encoded."""
    ahead: deque[tuple[np.ndarray, Future[list[np.ndarray]]]] = deque()
    for batch, texts in batches:
        ahead.append((batch, pool.submit(_encode, tokenizer, batch, texts, name)))
        if len(ahead) == BATCHES_AHEAD:
            first, future = ahead.popleft()
            yield first, future.result()
    for first, future in ahead:
        yield first, future.result()


def _encode(tokenizer: Tokenizer, batch: np.ndarray, texts: list[str], name: str) -> list[np.ndarray]:
    if [hash_content(text.encode()) for text in texts] != batch["hash"].tolist():
        raise LoraJaxError(
            f"The source {name!r} holds another text than when it was split: run the same command again."
        )
    return tokenizer.encode_batch(texts)


class Progress:
    """Lines about how far the tokenising is and how long it will take."""

    def __init__(self, total: int, left: int, name: str, say: Say) -> None:
        self._total, self._done, self._gone_on_at = total, total - left, total - left
        self._name, self._say = name, say
        self._began = self._said = time.monotonic()
        say(f"tokenising {name}" + (f", from {self._done / 1e6:.0f} MB on" if self._done else ""))

    def add(self, n_bytes: int) -> None:
        self._done += n_bytes
        now = time.monotonic()
        if now - self._said < SAY_SECONDS or self._done == self._gone_on_at:
            return
        self._said = now
        speed = (self._done - self._gone_on_at) / (now - self._began)
        self._say(
            f"tokenising {self._name}: {self._done / 1e6:.0f} of {self._total / 1e6:.0f} MB,"
            f" {speed / 1e6:.1f} MB/s, {_words((self._total - self._done) / speed)} left"
        )


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
