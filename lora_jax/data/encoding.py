"""Turn every document of a source into tokens once: in the order of rows, on all cores, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from lora_jax.data.progress import Progress, Say
from lora_jax.data.readers.token_documents import TokenDocuments
from lora_jax.data.split import SourceSplit, batch_documents, content_of, hash_content
from lora_jax.data.spool import Spool
from lora_jax.data.tokenizers import Tokenizer
from lora_jax.errors import LoraJaxError

PART_BYTES = 32_000_000  # after a kill, at most so many bytes are encoded again
BATCH_BYTES = 1_000_000  # bytes that are encoded together, enough to keep every core busy
BATCHES_AHEAD = 4
THREADS = 2  # one turns ids into arrays while the library encodes the other's batch on all cores
MB = 1e6

Batch: TypeAlias = list[str | np.ndarray]
Encoded: TypeAlias = tuple[list[np.ndarray], Any]  # ids and bytes of text of each document, None if unknown


def encode_source(source: SourceSplit, tokenizer: Tokenizer, spool: Spool, say: Say) -> np.ndarray:
    """Fill a spool with the documents of both sides.

    Returns:
        Their DOCUMENT records in the spool's order.

    Raises:
        LoraJaxError: A text has changed since the source was split.
    """
    documents = np.concatenate([source.train, source.heldout])
    documents = documents[np.argsort(documents["row"], kind="stable")]
    left = documents[spool.n_documents :]
    texts = iter(source.texts.read(left["row"]))
    doing = f"{'copying' if isinstance(source.texts, TokenDocuments) else 'tokenising'} {source.name}"
    total = int(documents["n_bytes"].sum())
    done = total - int(left["n_bytes"].sum())
    say(doing + (f", from {done / MB:.0f} MB on" if done else ""))
    progress = Progress(doing, total / MB, "MB", say, done / MB)
    encode = partial(_encode, tokenizer, source.name)
    with ThreadPoolExecutor(THREADS) as pool:
        for part in batch_documents(left, PART_BYTES):
            batches = (
                (batch, list(islice(texts, len(batch)))) for batch in batch_documents(part, BATCH_BYTES)
            )
            for batch, (ids, n_bytes) in _run_ahead(pool, encode, batches):
                spool.write(ids, n_bytes)
                progress.add(int(batch["n_bytes"].sum()) / MB)
            spool.end_part()
    return documents


def _run_ahead(
    pool: ThreadPoolExecutor,
    encode: Callable[[np.ndarray, Batch], Encoded],
    batches: Iterator[tuple[np.ndarray, Batch]],
) -> Iterator[tuple[np.ndarray, Encoded]]:
    """Yield each batch with its tokens, in order, while a few others are being encoded."""
    ahead: deque[tuple[np.ndarray, Future[Encoded]]] = deque()
    for batch, texts in batches:
        ahead.append((batch, pool.submit(encode, batch, texts)))
        if len(ahead) == BATCHES_AHEAD:
            first, future = ahead.popleft()
            yield first, future.result()
    for first, future in ahead:
        yield first, future.result()


def _encode(tokenizer: Tokenizer, name: str, batch: np.ndarray, texts: Batch) -> Encoded:
    if [hash_content(content_of(text)) for text in texts] != batch["hash"].tolist():
        raise LoraJaxError(
            f"The source {name!r} holds another text than when it was split: run the same command again."
        )
    tokens = [text for text in texts if not isinstance(text, str)]
    if tokens:
        return tokens, tokenizer.count_bytes(tokens)
    return tokenizer.encode_batch([text for text in texts if isinstance(text, str)]), batch["n_bytes"]
