"""What training relies on: pure batches, whole epochs, kept proportions, honest arithmetic."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data import Dataset, prepare
from lora_jax.errors import LoraJaxError

Make = Callable[..., Dataset]
Write = Callable[..., SourceConfig]


def cut(dataset: Dataset, source: int = 0) -> np.ndarray:
    """All windows of a source, cut by NumPy."""
    tokens = np.array(dataset.sources[source].train.tokens)
    seq_len = dataset.config.seq_len
    return np.lib.stride_tricks.sliding_window_view(tokens, seq_len + 1)[::seq_len].astype(np.int32)


def draw(dataset: Dataset, first: int, n: int, seed: int = 0) -> np.ndarray:
    return np.concatenate([dataset.batch(i, 1, seed) for i in range(first, first + n)])


def as_set(windows: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in windows}


def test_a_batch_is_a_pure_function_of_its_arguments(make_dataset: Make) -> None:
    dataset, again = make_dataset(), make_dataset()
    first = {step: dataset.batch(step, 4, 7) for step in (0, 500, 3, 12)}
    for step in (12, 0, 3, 500):
        batch = again.batch(step, 4, 7)
        assert batch.shape == (4, 17)
        assert batch.dtype == np.int32
        assert (batch == first[step]).all()
    assert (dataset.batch(0, 4, 8) != first[0]).any()
    assert (dataset.batch(np.int64(3), 4, np.int32(7)) == first[3]).all()  # pyright: ignore[reportArgumentType]


def test_the_order_of_samples_does_not_depend_on_the_batch_size(make_dataset: Make) -> None:
    dataset = make_dataset()
    small = np.concatenate([dataset.batch(step, 4, 0) for step in range(12)])
    large = np.concatenate([dataset.batch(step, 16, 0) for step in range(3)])
    assert (small == large).all()


def test_an_epoch_shows_every_window_once(make_dataset: Make) -> None:
    dataset = make_dataset()
    windows = cut(dataset)
    n = len(windows)
    assert n * 16 == dataset.unique_tokens
    assert len(as_set(windows)) == n, "the test needs windows that differ"
    epochs = [draw(dataset, e * n, n) for e in range(3)]
    for epoch in epochs:
        assert as_set(epoch) == as_set(windows)
    assert (epochs[0] != epochs[1]).any()
    assert (epochs[1] != epochs[2]).any()
    assert (epochs[1] != draw(dataset, 0, n, seed=1)).any(), "a seed must not replay another one's epochs"


def test_targets_are_inputs_shifted_by_one_and_each_token_is_a_target_once(make_dataset: Make) -> None:
    dataset = make_dataset()
    windows = cut(dataset)
    stream = np.array(dataset.sources[0].train.tokens)
    assert (np.concatenate(windows[:, 1:]) == stream[1 : dataset.unique_tokens + 1]).all()
    assert (windows[1:, 0] == windows[:-1, -1]).all()


def test_unique_tokens_are_respected(make_dataset: Make) -> None:
    whole, part = make_dataset(), make_dataset(unique_tokens=1000)
    assert part.unique_tokens == 1000 // 16 * 16
    n = part.unique_tokens // 16
    assert as_set(draw(part, 0, 5 * n)) == as_set(cut(whole)[:n])
    assert part.epochs(10 * part.unique_tokens) == pytest.approx(10)
    assert part.unique_seen(10 * part.unique_tokens) == part.unique_tokens


@pytest.mark.parametrize("wanted", [15, 10**9])
def test_unique_tokens_that_cannot_be_had_are_refused(make_dataset: Make, wanted: int) -> None:
    with pytest.raises(LoraJaxError, match=rf"unique_tokens is {wanted}.*change it"):
        make_dataset(unique_tokens=wanted)


def test_epochs_and_their_limit(make_dataset: Make) -> None:
    dataset = make_dataset(max_epochs=1.7)
    unique = dataset.unique_tokens
    assert dataset.epochs(unique) == pytest.approx(1)
    assert dataset.epochs(3 * unique) == pytest.approx(3)
    assert dataset.unique_seen(160) == 160
    assert dataset.unique_seen(3 * unique) == unique
    dataset.check(int(1.7 * unique))
    with pytest.raises(
        LoraJaxError, match=rf"n_tokens is {2 * unique}, which is 2.00 epochs of the {unique} .*1.7"
    ):
        dataset.check(2 * unique)


def test_the_limit_that_check_names_is_allowed(make_dataset: Make) -> None:
    for max_epochs in (0.3, 1.0, 1.7, 4.0, 12.34):
        dataset = make_dataset(max_epochs=max_epochs)
        with pytest.raises(LoraJaxError, match="at most") as refused:
            dataset.check(10**9)
        most = int(str(refused.value).split("at most ")[1].split(",")[0])
        dataset.check(most)
        with pytest.raises(LoraJaxError):
            dataset.check(most + 2)


@pytest.fixture
def mixture(tmp_path: Path, write_documents: Write) -> Dataset:
    sources = [
        SourceConfig(name=write_documents(tmp_path / str(i), n=20, n_words=n, seed=i).name, weight=weight)
        for i, (n, weight) in enumerate([(400, 429), (100, 67), (30, 3)])
    ]
    return prepare(DataConfig(sources=tuple(sources), seq_len=16, heldout_fraction=0.2), vocab_size=256)


def test_a_mixture_keeps_its_weights(mixture: Dataset) -> None:
    sets = [as_set(cut(mixture, source)) for source in range(3)]
    batches = np.concatenate([mixture.batch(step, 16, 0) for step in range(200)])
    counts = [sum(row.tobytes() in windows for row in batches) for windows in sets]
    assert sum(counts) == len(batches)
    assert np.abs(np.array(counts) - len(batches) * np.array([429, 67, 3]) / 499).max() <= 2
    assert (draw(mixture, 500, 50) == np.concatenate([mixture.batch(s, 10, 0) for s in range(50, 55)])).all()


def test_a_mixture_counts_epochs_by_its_most_repeated_source(mixture: Dataset) -> None:
    n_tokens = 200 * 16 * 16
    batches = np.concatenate([mixture.batch(step, 16, 0) for step in range(200)])
    assert mixture.unique_seen(n_tokens) == 16 * len(as_set(batches))
    own = [d["unique_tokens"] for d in mixture.describe()["sources"]]
    expected = max(n_tokens * w / 499 / n for w, n in zip((429, 67, 3), own, strict=True))
    assert mixture.epochs(n_tokens) == pytest.approx(expected, rel=1e-3)


def test_heldout_windows_of_a_mixture_keep_its_weights(mixture: Dataset) -> None:
    streams = [np.array(s.heldout.tokens) for s in mixture.sources]
    sets = [as_set(np.lib.stride_tricks.sliding_window_view(s, 17)[::16].astype(np.int32)) for s in streams]
    counts = np.array([sum(row.tobytes() in windows for row in mixture.heldout_WT) for windows in sets])
    assert counts.sum() == len(mixture.heldout_WT)
    assert np.abs(counts - counts.sum() * np.array([429, 67, 3]) / 499).max() <= 2
    clusters = [
        mixture.heldout_documents_W[a:b] for a, b in zip([0, *counts.cumsum()], counts.cumsum(), strict=False)
    ]
    assert clusters[0].max() < clusters[1].min()
    assert clusters[1].max() < clusters[2].min()


def test_one_tokenizer_serves_a_mixture(tmp_path: Path, write_documents: Write) -> None:
    sources = tuple(write_documents(tmp_path / str(i), n=5, n_words=200, seed=i) for i in range(2))
    dataset = prepare(DataConfig(sources=sources, tokenizer="bpe:300", seq_len=8), vocab_size=300)
    for source in dataset.sources:
        for stream in (source.train, source.heldout):
            assert stream.tokens.max() < 300
            assert (stream.tokens == dataset.tokenizer.separator).sum() == len(stream.documents)


def test_heldout_windows_name_the_document_they_start_in(make_dataset: Make) -> None:
    dataset = make_dataset(heldout_fraction=0.3, heldout_tokens=10**6)
    stream = dataset.sources[0].heldout
    before = np.cumsum(np.array(stream.tokens) == dataset.tokenizer.separator)
    starts = np.arange(len(dataset.heldout_WT)) * 16
    expected = [0 if s == 0 else before[s - 1] for s in starts]
    assert dataset.heldout_documents_W.tolist() == expected
    assert len(set(expected)) == len(stream.documents)


def test_heldout_windows_are_capped_and_spread(make_dataset: Make) -> None:
    dataset = make_dataset(heldout_fraction=0.5, heldout_tokens=16 * 30)
    assert dataset.heldout_WT.shape == (30, 17)
    assert dataset.heldout_WT.dtype == np.int32
    assert len(set(dataset.heldout_documents_W)) == len(dataset.sources[0].heldout.documents)


def test_bytes_per_token(make_dataset: Make) -> None:
    for tokenizer in ("bytes", "bpe:400"):
        dataset = make_dataset(tokenizer=tokenizer, heldout_fraction=0.3)
        stream = dataset.sources[0].heldout
        text = dataset.tokenizer.decode(t for t in stream.tokens if t != dataset.tokenizer.separator)
        assert dataset.bytes_per_token == pytest.approx(len(text.encode()) / len(stream.tokens))


def test_describe_is_plain_and_adds_up(make_dataset: Make) -> None:
    import json

    dataset = make_dataset()
    about = json.loads(json.dumps(dataset.describe()))
    (source,) = about["sources"]
    files = [p.read_bytes() for p in Path(source["name"].removeprefix("files:")).parent.glob("*.txt")]
    assert source["train_documents"] + source["heldout_documents"] == len(files)
    assert source["train_bytes"] + source["heldout_bytes"] == sum(map(len, files))
    assert source["train_tokens"] == source["train_bytes"] + source["train_documents"]
    assert about["unique_tokens"] == dataset.unique_tokens
    assert about["tokenizer_fingerprint"] == "bytes"


def test_a_vocabulary_that_the_data_exceeds_is_refused(tmp_path: Path, write_documents: Write) -> None:
    source = write_documents(tmp_path / "text", n=5, n_words=50)
    with pytest.raises(LoraJaxError, match=r"256 tokens and model.vocab_size is 255"):
        prepare(DataConfig(sources=(source,)), vocab_size=255)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seq_len": 100_000}, "training tokens, shorter than one sequence"),
        ({"seq_len": 4000}, "held-out tokens, shorter than one sequence"),
        ({"heldout_tokens": 15}, "heldout_tokens is 15"),
    ],
)
def test_a_corpus_shorter_than_a_sequence_is_refused(
    make_dataset: Make, fields: dict[Any, Any], message: str
) -> None:
    with pytest.raises(LoraJaxError, match=message):
        _ = make_dataset(**fields).heldout_WT
