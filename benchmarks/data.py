"""Text on its way to the step: how fast it becomes tokens, how soon it opens again, how long a loop waits."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure, Row, Section
from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data import Dataset, prepare
from lora_jax.data.ahead import BatchesAhead
from lora_jax.data.sotu import find_speeches
from lora_jax.data.tokenizers import SubwordTokenizer, split_lines
from lora_jax.timing import Say

N_FILES, VOCABULARY = 2000, 16_384
BATCH_SIZE, SEQ_LEN = 16, 256
STEP_SECONDS, N_STEPS = 1e-3, 2000
TOGETHER = 1_000_000  # characters that the library gets in one call
MB_PER_SECOND, OPEN_SECONDS, WAITED = 5.0, 2.0, 2.0  # at least, at most, at most in percent


def measure_data(repeats: int, say: Say) -> Section:
    """Tokenise files of shuffled speeches, by us and by the library alone, in turns; then read them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = _write_files(folder / "text")
        n_mb = sum(len(text.encode()) for text in texts) / 1e6
        source = SourceConfig(name=f"files:{folder / 'text'}")
        config = DataConfig(sources=(source,), tokenizer=f"bpe:{VOCABULARY}", seq_len=SEQ_LEN)
        say(f"data: {repeats} rounds of {n_mb:.0f} MB in {N_FILES:,} files")
        dataset = prepare(config, VOCABULARY, folder)  # trains the tokenizer, which is kept
        assert isinstance(dataset.tokenizer, SubwordTokenizer)
        (folder / "tokenizer.json").write_text(dataset.tokenizer.to_json(), encoding="utf-8")
        ours, alone, opened = [], [], []
        for number in range(repeats):
            cache = folder / f"cache-{number}"
            (cache / "tokenizers").parent.mkdir()
            os.symlink(folder / "tokenizers", cache / "tokenizers")
            ours.append(n_mb / _seconds(lambda to=cache: prepare(config, VOCABULARY, to)))
            opened.append(_seconds(lambda to=cache: prepare(config, VOCABULARY, to).batch(0, BATCH_SIZE, 0)))
            alone.append(n_mb / _seconds(lambda: _encode_alone(folder / "tokenizer.json", texts)))
        waited = [100 * _waited_share(dataset) for _ in range(repeats)]
    ratio = tuple(a / b for a, b in zip(ours, alone, strict=True))
    settings = {"files": N_FILES, "megabytes": round(n_mb, 1), "vocabulary": VOCABULARY}
    tokenising = (
        Figure("files to store", "MB/s", tuple(ours), at_least=MB_PER_SECOND),
        Figure("library alone", "MB/s", tuple(alone)),
        Figure("ratio", "", ratio, better="more"),
    )
    waiting = {"step_seconds": STEP_SECONDS, "batch_size": BATCH_SIZE, "seq_len": SEQ_LEN}
    rows = (
        Row("text to tokens", settings, tokenising),
        Row("opened again", settings, (Figure("wall time", "s", tuple(opened), OPEN_SECONDS),)),
        Row("batches ahead", waiting, (Figure("waited", "%", tuple(waited), WAITED),)),
    )
    return Section("data", "Text to tokens, and tokens to the step", rows)


def _write_files(folder: Path) -> list[str]:
    """Write documents of shuffled lines of the speeches, as many as they are, and return their texts."""
    folder.mkdir()
    lines = [line for path in find_speeches() for line in split_lines(path.read_text(encoding="utf-8"))]
    order = np.random.default_rng(0).permutation(len(lines) * 2) % len(lines)
    texts = ["".join(lines[place] for place in part) for part in np.array_split(order, N_FILES)]
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    return texts


def _encode_alone(path: Path, texts: list[str]) -> None:
    from tokenizers import Tokenizer

    inner = Tokenizer.from_file(str(path))
    lines = [line for text in texts for line in split_lines(text)]
    ends = np.cumsum([len(line) for line in lines])
    for part in np.split(np.arange(len(lines)), np.flatnonzero(np.diff(ends // TOGETHER)) + 1):
        inner.encode_batch_fast([lines[place] for place in part], add_special_tokens=False)


def _waited_share(dataset: Dataset) -> float:
    """Return the share of its time that a loop waits for batches, if a step takes STEP_SECONDS."""
    began = time.perf_counter()
    with BatchesAhead(lambda step: dataset.batch(step, BATCH_SIZE, 0), range(N_STEPS)) as batches:
        for _ in batches:
            time.sleep(STEP_SECONDS)
    return batches.waited_seconds / (time.perf_counter() - began)


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began
