"""A corpus of any size to tokens, once: how fast, in how much memory, and how soon it opens again.

Each part is a process of its own, this file: training the tokenizer and writing the store, the `tokenizers`
library alone on the same text, and opening the store.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.child import Cost, run_child
from benchmarks.figures import Figure, Row, Section
from lora_jax.errors import LoraJaxError
from lora_jax.timing import Say

MEGABYTES = 300  # of text, unless another size is asked for
VOCABULARY, BATCH_SIZE, SEQ_LEN = 16_384, 16, 256
MB, GB = 1e6, 1e9
FILE_BYTES, DOCUMENT_BYTES = 64_000_000, 4_000
NEW_WORDS = 0.02  # of the words, which no vocabulary has whole
TOGETHER = 1_000_000  # characters that the library gets in one call
MB_PER_SECOND, GIGABYTES, OPEN_SECONDS = 5.0, 1.0, 2.0  # at least, at most, at most
ROOT = Path(__file__).resolve().parent.parent


def measure_tokenising(repeats: int, say: Say, megabytes: float = MEGABYTES) -> Section:
    """Write a corpus of JSON lines; take it to tokens, encode it by the library alone, and open it again."""
    ours, alone, opened = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say(f"tokenising: writing {megabytes:,.0f} MB of text")
        n_bytes, n_documents = write_corpus(folder / "corpus", megabytes)
        for number in range(1, repeats + 1):
            cache = folder / f"cache-{number}"
            say(f"tokenising {number}/{repeats}: from text to batches")
            ours.append(_run("prepare", folder, cache))
            opened.append(_run("prepare", folder, cache))
            say(f"tokenising {number}/{repeats}: the library alone")
            alone.append(_run("encode", folder, cache))
    megabytes = n_bytes / MB
    speeds = {name: tuple(megabytes / c.seconds for c in costs) for name, costs in _both(ours, alone)}
    by_cpu = {name: tuple(megabytes / c.cpu_seconds for c in costs) for name, costs in _both(ours, alone)}
    settings = {
        "megabytes": round(megabytes, 1),
        "documents": n_documents,
        "vocabulary": VOCABULARY,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    ratio = tuple(a / b for a, b in zip(by_cpu["ours"], by_cpu["alone"], strict=True))
    rows = (
        Row(
            "text to batches",
            settings,
            (
                Figure("speed", "MB/s", speeds["ours"], at_least=MB_PER_SECOND),
                Figure("by CPU time", "MB/s", by_cpu["ours"]),
                Figure("peak memory", "GB", tuple(c.peak_bytes / GB for c in ours), GIGABYTES),
            ),
        ),
        Row(
            "tokenizers alone",
            settings,
            (
                Figure("speed", "MB/s", speeds["alone"]),
                Figure("by CPU time", "MB/s", by_cpu["alone"]),
                Figure("ours / alone, by CPU time", "", ratio, better="more"),
            ),
        ),
        Row(
            "opened again",
            settings,
            (
                Figure("wall time", "s", tuple(c.seconds for c in opened), OPEN_SECONDS),
                Figure("peak memory", "GB", tuple(c.peak_bytes / GB for c in opened), GIGABYTES),
            ),
        ),
    )
    return Section(
        "tokenising",
        "A corpus to tokens",
        rows,
        note="text to batches: with the start of Python, training the tokenizer, and hashing. by CPU time:"
        " over the seconds of all cores together, which other programs change less.",
    )


def _both(ours: list[Cost], alone: list[Cost]) -> Iterator[tuple[str, list[Cost]]]:
    yield "ours", ours
    yield "alone", alone


def _run(verb: str, folder: Path, cache: Path) -> Cost:
    printed = folder / "printed"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.tokenising", verb, str(folder / "corpus"), str(cache)]
    cost = run_child(command, environment, printed)
    if cost.exit_status:
        raise LoraJaxError(
            f"{verb} ended with status {cost.exit_status} ({printed.read_text()[-500:].strip()}): see above."
        )
    return cost


def write_corpus(folder: Path, megabytes: float) -> tuple[int, int]:
    """Write files of JSON lines; return the bytes of their texts, and how many documents they are.

    A document is lines of the State of the Union addresses in a shuffled order. A fiftieth of the words is
    made of two halves of others, so that new words keep coming, as in a large corpus.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = _read_lines()
    halves = [word[: len(word) // 2 + 1] for line in lines for word in line.split(" ")]
    n_bytes = n_documents = 0
    for number in range(max(1, round(megabytes * MB / FILE_BYTES))):
        until = min((number + 1) * FILE_BYTES, megabytes * MB)
        with open(folder / f"{number:05}.jsonl", "w", encoding="utf-8") as file:
            while n_bytes < until:
                text = _make_document(lines, halves, rng)
                file.write(json.dumps({"text": text}) + "\n")
                n_bytes += len(text.encode())
                n_documents += 1
    return n_bytes, n_documents


def _read_lines() -> list[str]:
    from lora_jax.data.sotu import find_speeches

    texts = (path.read_text(encoding="utf-8") for path in find_speeches())
    return [line.strip() for text in texts for line in text.splitlines() if line.strip()]


def _make_document(lines: list[str], halves: list[str], rng: np.random.Generator) -> str:
    chosen, size = [], 0
    while size < DOCUMENT_BYTES:
        words = lines[rng.integers(len(lines))].split(" ")
        for place in np.flatnonzero(rng.random(len(words)) < NEW_WORDS).tolist():
            one, other = rng.integers(len(halves), size=2).tolist()
            words[place] = halves[one] + halves[other].lower()
        chosen.append(" ".join(words))
        size += len(chosen[-1]) + 1
    return "\n".join(chosen)


def prepare_corpus(corpus: str, cache: str) -> None:
    """Take a corpus to its first batch, in a process that has not loaded JAX."""
    from lora_jax.config import DataConfig, SourceConfig
    from lora_jax.data import prepare

    source = SourceConfig(name=f"files:{corpus}/*.jsonl")
    config = DataConfig(sources=(source,), tokenizer=f"bpe:{VOCABULARY}", seq_len=SEQ_LEN)
    prepare(config, VOCABULARY, Path(cache), lambda line: print(line, flush=True)).batch(0, BATCH_SIZE, 0)


def encode_corpus(corpus: str, cache: str) -> None:
    """Encode every line of a corpus by the library, and keep nothing of it."""
    from tokenizers import Tokenizer

    from lora_jax.data.tokenizers import split_lines

    (path,) = (Path(cache) / "tokenizers").glob("*.json")
    inner = Tokenizer.from_str(json.loads(path.read_text(encoding="utf-8"))["tokenizer"])
    batch: list[str] = []
    size = 0
    for file in sorted(Path(corpus).glob("*.jsonl")):
        with open(file, encoding="utf-8") as rows:
            for row in rows:
                text = json.loads(row)["text"]
                batch += split_lines(text)
                size += len(text)
                if size >= TOGETHER:
                    inner.encode_batch_fast(batch, add_special_tokens=False)
                    batch, size = [], 0
    inner.encode_batch_fast(batch, add_special_tokens=False)


if __name__ == "__main__":
    {"prepare": prepare_corpus, "encode": encode_corpus}[sys.argv[1]](*sys.argv[2:])
