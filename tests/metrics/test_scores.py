"""Scores against hand counts, sacrebleu, rouge-score and SciPy; intervals against theory."""

import math
import random

import numpy as np
import pytest
from scipy import stats

from lora_jax.errors import LoraJaxError
from lora_jax.metrics import (
    accuracy,
    bleu,
    difference,
    exact_match,
    f1,
    interval,
    rouge,
    token_f1,
    wilson,
)
from lora_jax.metrics.text import bleu_of_counts

WORDS = ("the", "cat", "sat", "on", "a", "mat", "while", "dogs", "ran", "far", "away", "from", "home")


def make_texts(n: int, seed: int = 0) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return texts and one to three references each, which share most of their words."""
    draw = random.Random(seed)
    texts, references = [], []
    for _ in range(n):
        words = draw.choices(WORDS, k=draw.randint(5, 14))
        texts.append(" ".join(words[: draw.randint(3, 14)]) + " .")
        changed = [[w if draw.random() < 0.8 else draw.choice(WORDS) for w in words] for _ in range(3)]
        references.append(tuple(" ".join(c) + " ." for c in changed[: draw.randint(1, 3)]))
    return texts, references


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (3, 7), (800, 872)])
def test_wilson_is_scipys(hits: int, n: int) -> None:
    wanted = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    found = wilson(hits, n)
    assert found["ci95"] == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert accuracy([1] * n, [1] * hits + [0] * (n - hits)) == found


def test_the_interval_of_a_mean_is_students() -> None:
    values = np.random.default_rng(0).normal(3, 2, 25)
    found = interval(values)
    low, high = stats.t.interval(0.95, 24, loc=values.mean(), scale=stats.sem(values))
    assert found["ci95"] == pytest.approx((low, high))
    assert found["se"] == pytest.approx(stats.sem(values))


def test_the_bootstrap_of_a_mean_has_the_error_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(0, 1, 400)
    found = interval(lambda counts_RN: counts_RN @ values / counts_RN.sum(1), 400, resamples=4000)
    assert found["value"] == pytest.approx(values.mean())
    assert found["se"] == pytest.approx(values.std() / math.sqrt(400), rel=0.05)
    wanted = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=0)
    assert found["ci95"] == pytest.approx(tuple(wanted.confidence_interval), abs=0.01)


def test_f1_by_hand() -> None:
    predicted, labels = [1, 1, 0, 1, 1, 0], [1, 0, 0, 0, 1, 2]
    # class 0: TP 1, FP 1, FN 2; class 1: TP 2, FP 2, FN 0; class 2: TP 0, FP 0, FN 1
    assert f1(predicted, labels, positive=1)["value"] == pytest.approx(4 / 6)
    assert f1(predicted, labels)["value"] == pytest.approx((2 / 5 + 4 / 6 + 0) / 3)
    assert f1(predicted, labels, positive=5)["value"] == 0


def test_answers_by_hand() -> None:
    texts = ["The  cat", "a dog!", "red fish", ""]
    references = ["The cat", ("cat", "Dog"), "one red fish", "x"]
    assert exact_match(texts, references)["value"] == 1 / 4
    assert exact_match(texts, references, normalise=True)["value"] == 2 / 4
    assert token_f1(texts, references)["value"] == pytest.approx((1 + 1 + 2 * 2 / 5 + 0) / 4)


def test_bleu_is_sacrebleus_with_any_number_of_references() -> None:
    from sacrebleu.metrics.bleu import BLEU

    texts, references = make_texts(80)
    # sacrebleu takes the i-th reference of every text together, None where a text has fewer.
    columns = [[r[i] if i < len(r) else None for r in references] for i in range(3)]
    wanted = BLEU().corpus_score(texts, columns, n_bootstrap=1000)  # pyright: ignore[reportArgumentType]
    found = bleu(texts, references)
    assert found["value"] == pytest.approx(wanted.score, abs=1e-9)
    half_width = (found["ci95"][1] - found["ci95"][0]) / 2
    assert half_width == pytest.approx(wanted._ci, rel=0.1)


def test_rouge_is_the_longest_common_subsequence() -> None:
    # "the cat sat on the mat" / "the cat on a mat": 4 words in common in order; P = 4/5, R = 4/6
    found = rouge(["the cat on a mat", "dogs"], [("nothing", "the cat sat on the mat"), "dogs"])
    assert found["value"] == pytest.approx((2 * 4 / (5 + 6) + 1) / 2)
    assert rouge(["cats run", "a"], ["cat runs", "a"], kind="rouge1", stemmer=True)["value"] == 1
    with pytest.raises(LoraJaxError, match=r"'rougel' .nearest: 'rougeL'"):
        rouge(["a"], ["a"], kind="rougel")


def test_a_paired_difference_is_narrower() -> None:
    texts, references = make_texts(60)
    worse = [text.replace("cat", "dog") for text in texts]
    ours, theirs = bleu_of_counts(texts, references), bleu_of_counts(worse, references)
    found = difference(ours, theirs, 60)
    assert found["value"] == pytest.approx(
        bleu(texts, references)["value"] - bleu(worse, references)["value"]
    )
    apart = math.hypot(bleu(texts, references)["se"], bleu(worse, references)["se"])
    assert 0 < found["se"] < 0.7 * apart
    by_example = difference([1, 1, 0, 1], [1, 0, 0, 1])
    assert by_example["value"] == 0.25
    assert by_example["se"] == pytest.approx(stats.sem([0, 1, 0, 0]))


def test_what_cannot_be_scored_is_named() -> None:
    for score in (accuracy, f1, exact_match, token_f1, bleu, rouge):
        with pytest.raises(LoraJaxError, match="no examples to score"):
            score([], [])
    with pytest.raises(LoraJaxError, match="2 texts and 1 references"):
        bleu(["a", "b"], ["a"])
    with pytest.raises(LoraJaxError, match=r"Text 1 .'b'. has no reference"):
        exact_match(["a", "b"], ["a", ()])
    with pytest.raises(LoraJaxError, match="one example, which has no spread"):
        interval([1.5])
