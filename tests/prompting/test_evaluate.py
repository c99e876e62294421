"""Evaluations of a tiny decoder: equal to a full forward pass by hand, whatever is reused."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.data.tasks import Example, TaskData
from lora_jax.errors import LoraJaxError
from lora_jax.generation.engine import Engine
from lora_jax.huggingface.pretrained import Pretrained
from lora_jax.model.transformer import forward
from lora_jax.peft.method import adapt
from lora_jax.peft.methods.lora import LoRA
from lora_jax.prompting.build import build_prompts
from lora_jax.prompting.by_generation import TEXT_VALUES
from lora_jax.prompting.by_likelihood import choose_labels
from lora_jax.prompting.evaluate import Evaluation, draw_questions, evaluate
from lora_jax.prompting.normalise import CONTENT_FREE, calibrate_scores
from lora_jax.prompting.prompt import Prompt
from lora_jax.prompting.shots import Shots, draw_shots
from tests.prompting.places import CONTEXT, FEEL

N = 12


@pytest.fixture(scope="session")
def engine(decoder: Pretrained) -> Engine:
    return Engine(decoder.config, decoder.params)


def by_hand(decoder: Pretrained, text: str, answer: str) -> tuple[float, int]:
    """Return (log p of the answer's tokens after the text, how many), by one pass over the whole text."""
    ids = decoder.tokenizer.encode(text + answer)[0]
    n_before = len(decoder.tokenizer.encode(text)[0])
    padded = jnp.array([ids + [0] * (CONTEXT - len(ids))])  # one shape, one compilation; causal
    logprobs_TV = jax.nn.log_softmax(
        jax.jit(forward, static_argnums=0)(decoder.config, decoder.params, padded)[0]
    )
    return sum(float(logprobs_TV[t - 1, ids[t]]) for t in range(n_before, len(ids))), len(ids) - n_before


def ask(engine: Engine, decoder: Pretrained, task: TaskData, shots: Shots, **fields: Any) -> Evaluation:
    options: dict[str, Any] = {"n_examples": N, **fields}
    return evaluate(engine, decoder.tokenizer, task, FEEL, shots, **options)


@pytest.mark.parametrize("k", [0, 2, 12])
def test_likelihoods_are_those_of_a_full_forward(
    decoder: Pretrained, engine: Engine, feel: TaskData, k: int
) -> None:
    found = ask(engine, decoder, feel, Shots(k), normalise="sum")
    lengths = ask(engine, decoder, feel, Shots(k), normalise="length")
    assert found.label_scores is not None
    assert lengths.label_scores is not None
    n_asked = 0
    for number, text in enumerate(found.prompted.texts):
        for label, words in enumerate(FEEL.answers):
            logprob, n_tokens = by_hand(decoder, text, f" {words}")
            n_asked += len(decoder.tokenizer.encode(text)[0]) + n_tokens
            assert found.label_scores[number, label] == pytest.approx(logprob, abs=2e-4)
            assert lengths.label_scores[number, label] == pytest.approx(logprob / n_tokens, abs=2e-4)
    assert found.n_tokens_asked == n_asked
    assert found.n_tokens_run < n_asked, "a question is read once for both of its labels"
    assert (found.prompted.n_cut > 0) == (k == 12)
    assert any("hold fewer than the 12 demonstrations" in note for note in found.notes) == (k == 12)
    assert found.n_shots == pytest.approx(found.prompted.n_shots_N.mean())


def test_an_evaluation_says_what_was_right(decoder: Pretrained, engine: Engine, feel: TaskData) -> None:
    told: list[tuple[int, int]] = []
    found = ask(
        engine, decoder, feel, Shots(2, balanced=True), n_examples=None, tell=lambda *done: told.append(done)
    )
    labels = [e.label for e in feel.test]
    assert found.label_scores is not None
    assert found.predictions == found.label_scores.argmax(1).tolist()
    rights = [float(p == label) for p, label in zip(found.predictions, labels, strict=True)]
    assert found.values == {"accuracy": rights}
    assert found.scores["accuracy"]["value"] == pytest.approx(np.mean(rights))
    assert found.baselines == {"chance": 0.5, "majority": 0.5}
    assert found.leading == "accuracy"
    assert found.n_examples == len(feel.test)
    assert told[-1] == (len(feel.test), len(feel.test))
    described = found.describe()
    assert described["n_tokens_asked"] == found.n_tokens_asked
    assert described["n_cut"] == 0
    demonstrations = draw_shots(feel.train, Shots(2, balanced=True), 2)
    assert found.prompted.texts[0].startswith(demonstrations[0].text)


def test_the_unasked_answer_is_taken_off(decoder: Pretrained, engine: Engine, feel: TaskData) -> None:
    plain = ask(engine, decoder, feel, Shots(2), normalise="sum").label_scores
    found = ask(engine, decoder, feel, Shots(2), normalise="unconditional").label_scores
    assert plain is not None
    assert found is not None
    neutral_C = [by_hand(decoder, FEEL.neutral, f" {words}")[0] for words in FEEL.answers]
    np.testing.assert_allclose(plain - found, np.tile(neutral_C, (N, 1)), atol=4e-4)


def test_calibration_uses_prompts_without_content(
    decoder: Pretrained, engine: Engine, feel: TaskData
) -> None:
    shots = Shots(2)
    demonstrations = draw_shots(feel.train, shots, 2)
    free = [Example(f"Text: {text}\nFeeling:") for text in CONTENT_FREE]
    built = build_prompts(FEEL, demonstrations, free, decoder.tokenizer, CONTEXT)
    free_RC = np.array([[by_hand(decoder, t, f" {w}")[0] for w in FEEL.answers] for t in built.texts])
    plain = ask(engine, decoder, feel, shots, normalise="sum")
    found = ask(engine, decoder, feel, shots, normalise="sum", calibrate=True)
    assert plain.label_scores is not None
    assert found.label_scores is not None
    np.testing.assert_allclose(found.label_scores, calibrate_scores(plain.label_scores, free_RC), atol=1e-3)
    assert found.n_tokens_asked > plain.n_tokens_asked, "the prompts without content are paid for"
    uniform = choose_labels(
        engine, decoder.tokenizer, FEEL, demonstrations, built, normalise="sum", calibrate=True
    )
    # What they choose by themselves is evened out: their mean probability is that of a coin.
    weights_RC = np.exp(free_RC) / np.exp(free_RC).sum(1, keepdims=True)
    calibrated_RC = np.exp(uniform.scores_NC)
    np.testing.assert_allclose(
        calibrated_RC, (q := weights_RC / weights_RC.mean(0)) / q.sum(1, keepdims=True), atol=1e-3
    )


def test_answers_are_written_up_to_a_line_end(decoder: Pretrained, engine: Engine, feel: TaskData) -> None:
    prompt = Prompt(FEEL.template, FEEL.answers, "generate", n_new=8)
    found = evaluate(engine, decoder.tokenizer, feel, prompt, Shots(1), n_examples=N)
    assert list(found.scores) == ["exact_match", "token_f1"]
    texts = [str(text) for text in found.predictions]
    assert not any("\n" in text for text in texts)
    questions = draw_questions(feel.test, N)
    references = [(FEEL.answers[e.label or 0],) for e in questions]
    assert found.values["token_f1"] == TEXT_VALUES["token_f1"](texts, references).tolist()
    assert found.n_tokens_asked >= sum(map(len, found.prompted.contexts))
    assert found.label_scores is None
    assert all(len(ids) + 8 <= CONTEXT for ids in found.prompted.contexts)
    assert any(texts)
    ends = replace(decoder.tokenizer, end_ids=tuple(range(decoder.config.vocab_size)))
    ended = evaluate(engine, ends, feel, prompt, Shots(1), n_examples=N)
    assert not any(ended.predictions), "every token of the model's list ends an answer"


@pytest.mark.slow
def test_an_adapter_that_has_learned_nothing_changes_nothing(
    decoder: Pretrained, engine: Engine, feel: TaskData
) -> None:
    lora = LoRA(rank=2, alpha=4.0, targets=("all",))
    adapted = adapt(decoder.params, lora.build(decoder.config), seed=0)
    ours = ask(Engine(decoder.config, [adapted], lora), decoder, feel, Shots(2)).label_scores
    theirs = ask(engine, decoder, feel, Shots(2)).label_scores
    assert ours is not None
    assert theirs is not None
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_fewer_questions_are_a_subset_of_more(feel: TaskData) -> None:
    for n in range(1, 24):
        assert draw_questions(feel.test, n) == draw_questions(feel.test, n + 1)[:n]
    assert sorted(draw_questions(feel.test, 24)) == sorted(feel.test)


def test_rouge_is_that_of_rouge_score() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    texts = ["the cats were sitting on a mat", "", "nobody knew"]
    references = [("A cat sat on the mat .",), ("so it was",), ("nobody knew", "who knows")]
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for name, theirs in (("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")):
        wanted = [
            max(scorer.score(reference, text)[theirs].fmeasure for reference in several)
            for text, several in zip(texts, references, strict=True)
        ]
        np.testing.assert_allclose(TEXT_VALUES[name](texts, references), wanted)


def test_mistakes_are_named(decoder: Pretrained, engine: Engine, feel: TaskData) -> None:
    with pytest.raises(LoraJaxError, match=r"25 examples are to be asked, the split has 24"):
        ask(engine, decoder, feel, Shots(0), n_examples=25)
    with pytest.raises(LoraJaxError, match=r"shots.k is 41 and the training set has 40"):
        ask(engine, decoder, feel, Shots(41))
    prompt = Prompt(FEEL.template, scorer="generate")
    with pytest.raises(LoraJaxError, match=r"Calibration compares the likelihoods"):
        evaluate(engine, decoder.tokenizer, feel, prompt, Shots(0), calibrate=True)
