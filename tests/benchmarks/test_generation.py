"""Decoding and few-shot scoring in the benchmark."""

import numpy as np
import pytest

from benchmarks import generation
from benchmarks.generation import OURS, REUSED, SMALL, THEIRS, WHOLE, Decoder
from lora_jax.config import LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError

TINY = Decoder("tiny", ModelConfig(d_model=16, n_layers=1, n_heads=2, vocab_size=64, context=256, **LLAMA))


def keep_quiet(text: str) -> None:
    assert text


@pytest.mark.slow  # two processes
def test_completions_are_as_long_as_they_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "is_here", lambda *_: False)
    decoding, scoring = generation.measure_generation(2, keep_quiet, [TINY], (1, 2), 4, turn_seconds=0.01)
    for batch, row in zip((1, 2), decoding.rows, strict=True):
        np.testing.assert_allclose(
            np.multiply(row["tokens/s"].samples, row["a token of each"].samples), 1e3 * batch
        )
    assert "transformers and PyTorch are not installed" in decoding.note
    (row,) = scoring.rows
    shared, own = generation.N_SHOTS * generation.N_SHOT, generation.N_QUESTION
    n, labels = generation.N_QUESTIONS, generation.LABELS
    # The last token of a label is not read: nothing is asked after it.
    assert row.settings["n_tokens_run"][REUSED] <= shared + n * (own + sum(labels))
    assert row.settings["n_tokens_run"][WHOLE] >= n * (
        len(labels) * (shared + own) + sum(labels) - len(labels)
    )


def test_ours_and_theirs_are_divided_round_by_round() -> None:
    seconds = {OURS: [1.0, 2.0], THEIRS: [3.0, 3.0]}
    row = generation.make_row(SMALL, 4, 8, seconds, 1.0)
    assert row["tokens/s"].samples == (32.0, 16.0)
    assert row["ours / transformers"].samples == (3.0, 1.5)
    assert row["ours / transformers"].kept
    assert not generation.make_row(SMALL, 4, 8, {**seconds, THEIRS: [0.5, 0.5]}, 1.0)[
        "ours / transformers"
    ].kept


def test_other_first_tokens_are_refused_and_later_ones_are_counted() -> None:
    ours = [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert generation.check_tokens("a model", {OURS: ours}) is None
    assert generation.check_tokens("a model", {OURS: ours, THEIRS: [[1, 2, 3, 4], [5, 6, 0, 0]]}) == 0.75
    with pytest.raises(LoraJaxError, match="a model: we and transformers do not write the same first tokens"):
        generation.check_tokens("a model", {OURS: ours, THEIRS: [[0, 2, 3, 4], [5, 6, 7, 8]]})


def test_few_shot_prompts_fit_the_contexts_of_all_decoders() -> None:
    longest = generation.N_SHOTS * generation.N_SHOT + generation.N_QUESTION + max(generation.LABELS)
    for decoder in (SMALL, generation.REAL):
        assert longest <= decoder.model.context
