"""One fine-tuning run: it learns, only what should change changes, and the best weights are kept."""

import dataclasses
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest

from lora_jax.finetuning.config import FinetuneConfig, TuneConfig
from lora_jax.finetuning.evaluate import evaluate_split, score_completions
from lora_jax.finetuning.feed import unit_rate
from lora_jax.finetuning.group import draw_base
from lora_jax.finetuning.loop import finetune
from lora_jax.finetuning.prepare import Prepared
from lora_jax.metrics import Scores
from lora_jax.peft.method import Adapted, MethodConfig, adapt
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full, TopLayers
from lora_jax.training.side_by_side import Stopped

from .conftest import WORDS, task_of

LORA = LoRA(rank=4, alpha=8.0, targets=("all",))


def make_run(places: Path, method: MethodConfig, base: str = "encoder", **optim) -> FinetuneConfig:
    fields = {"learning_rate": 1e-2, "batch_size": 16, "epochs": 6, "evaluations": 3} | optim
    return FinetuneConfig(
        base=str(places / "models" / base),
        task=task_of(places, "words" if base == "encoder" else "echo"),
        method=method,
        label=type(method).__name__,
        optim=TuneConfig(**fields),
    )


def train(
    config: FinetuneConfig, prepared: Prepared, folder: Path | None = None, stop=lambda: False, test=None
):
    if folder is not None:
        return finetune(config, prepared, folder, stop, test=test)
    with tempfile.TemporaryDirectory() as place:
        return finetune(config, prepared, Path(place), stop, test=test)


@pytest.mark.parametrize("method", [Full(), LORA], ids=lambda method: type(method).__name__)
def test_a_word_that_tells_the_label_is_learned(places: Path, classify: Prepared, method) -> None:
    result = train(make_run(places, method), classify)
    assert result.test is not None
    assert result.losses[0] == pytest.approx(np.log(2), abs=0.1)
    assert result.test.scores["accuracy"]["value"] > 0.9
    low, high = result.test.scores["accuracy"]["ci95"]
    assert low < result.test.scores["accuracy"]["value"] <= high
    assert len(result.losses) == result.planned_steps == 6 * 6


@pytest.mark.bits
def test_frozen_weights_keep_their_bytes_and_a_run_its_losses(places: Path, classify: Prepared) -> None:
    config = make_run(places, TopLayers(layers=1), epochs=2)
    before = {path: np.asarray(weight).copy() for path, weight in classify.base.items()}
    first, second = train(config, classify), train(config, classify)
    assert (first.losses == second.losses).all()
    assert {p: np.asarray(w).tobytes() for p, w in classify.base.items()} == {
        p: w.tobytes() for p, w in before.items()
    }
    assert first.weights is not None
    assert set(first.weights) == first.method.trainable
    other = train(dataclasses.replace(config, seed=1), classify)
    assert (first.losses != other.losses).any()


def test_the_kept_weights_have_the_best_dev_score(places: Path, classify: Prepared) -> None:
    config = make_run(places, LORA, learning_rate=0.05, epochs=4, evaluations=8)
    result = train(config, classify)
    assert result.weights is not None
    assert result.dev is not None
    frozen = adapt(draw_base(classify, 0), result.method, 0).frozen
    again = evaluate_split(classify, config.method, Adapted(result.weights, frozen), classify.dev)
    assert again.scores == result.dev.scores


def test_patience_stops_a_run_that_does_not_improve(places: Path, classify: Prepared) -> None:
    config = make_run(places, LORA, learning_rate=1e-9, epochs=4, evaluations=12, patience=2)
    result = train(config, classify)
    assert result.stopped_early
    assert len(result.losses) < result.planned_steps


def test_divergence_is_a_status_and_no_number(places: Path, classify: Prepared) -> None:
    result = train(make_run(places, Full(), learning_rate=1e30, epochs=1), classify)
    assert result.diverged_at is not None
    assert result.test is None
    assert result.dev is None


@pytest.mark.bits
@pytest.mark.parametrize("stops", [(1,), (7, 13), (12,)])
def test_a_stopped_run_goes_on_to_the_same_bits(
    places: Path, classify: Prepared, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    """Six steps an epoch, a score every eight: stopped before, between and at the scores."""
    config = make_run(places, LORA, learning_rate=0.05, epochs=4)
    for n in stops:
        calls = iter(range(n))
        with pytest.raises(Stopped):
            train(config, classify, tmp_path, lambda calls=calls: next(calls, None) is None)
    again, whole = train(config, classify, tmp_path), train(config, classify)
    assert again.losses.tobytes() == whole.losses.tobytes()
    assert (again.kept_step, again.tokens.tolist()) == (whole.kept_step, whole.tokens.tolist())
    assert again.dev == whole.dev
    assert again.test == whole.test


def test_a_language_model_learns_the_completion(places: Path, generate: Prepared) -> None:
    result = train(make_run(places, Full(), base="decoder", epochs=12), generate)
    assert result.test is not None
    assert result.completions is not None
    assert result.test.scores["loss"]["value"] < 0.2
    assert {"good fine", "bad"} >= set(result.completions)
    assert result.test.scores["rouge_l"]["value"] > 0.9
    ends = dataclasses.replace(generate.pretrained.tokenizer, end_ids=(WORDS.index("fine"),))
    ended = dataclasses.replace(generate, pretrained=dataclasses.replace(generate.pretrained, tokenizer=ends))
    assert result.weights is not None
    adapted = Adapted(result.weights, {})
    _, texts = score_completions(ended, Full(), adapted, 16, 40)
    assert {"good", "bad"} >= set(texts), "the model's ends stop a text, and so does the rows' own"


@pytest.mark.slow
def test_another_test_sees_the_kept_weights_and_is_the_score(places: Path, generate: Prepared) -> None:
    config = make_run(places, LORA, base="decoder", epochs=1)
    seen: list[Adapted] = []

    def test(run: FinetuneConfig, prepared: Prepared, adapted: Adapted) -> Scores:
        assert (run, prepared) == (config, generate)
        seen.append(adapted)
        return Scores(
            {"loss": evaluate_split(prepared, run.method, adapted, prepared.test).scores["loss"]}, [1.0]
        )

    result, plain = train(config, generate, test=test), train(config, generate)
    assert plain.test is not None
    assert result.test == Scores({"loss": plain.test.scores["loss"]}, [1.0])
    assert result.completions is None
    assert result.weights is not None
    assert {path: w.tobytes() for path, w in jax.device_get(seen[0].trainable).items()} == {
        path: w.tobytes() for path, w in jax.device_get(result.weights).items()
    }
    diverged = make_run(places, LORA, base="decoder", epochs=1, learning_rate=1e30)
    assert train(diverged, generate, test=test).test is None
    assert len(seen) == 1


def test_the_rate_rises_and_falls_linearly() -> None:
    optim = TuneConfig(warmup_fraction=0.1)
    rates = [unit_rate(optim, 100, step) for step in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[10:] == pytest.approx(np.arange(90, 0, -1) / 90)
