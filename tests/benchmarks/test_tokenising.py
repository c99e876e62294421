"""The corpus of the section tokenising has the size that was asked for, and its figures fit together."""

import json
from pathlib import Path

import pytest

from benchmarks.tokenising import measure_tokenising, write_corpus
from lora_jax.data.sotu import find_speeches


def test_the_corpus_has_its_size_and_words_that_no_speech_has(tmp_path: Path) -> None:
    n_bytes, n_documents = write_corpus(tmp_path / "corpus", 0.2)
    (path,) = (tmp_path / "corpus").iterdir()
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert (sum(len(text.encode()) for text in texts), len(texts)) == (n_bytes, n_documents)
    assert 200_000 <= n_bytes < 220_000
    known = {word for p in find_speeches() for word in p.read_text(encoding="utf-8").split()}
    words = [word for text in texts for word in text.split()]
    assert 0.005 < sum(word not in known for word in words) / len(words) < 0.03


@pytest.mark.slow
def test_a_small_corpus_is_tokenised_and_opened_again() -> None:
    section = measure_tokenising(1, print, 0.3)
    ours, alone, opened = section.rows
    assert ours.settings["megabytes"] == pytest.approx(0.3, abs=0.02)
    assert 0 < ours["peak memory"].median < 1
    assert ours["speed"].at_least == 5
    assert opened["wall time"].median > 0
    ratio = ours["by CPU time"].median / alone["by CPU time"].median
    assert alone["ours / alone, by CPU time"].median == pytest.approx(ratio)
