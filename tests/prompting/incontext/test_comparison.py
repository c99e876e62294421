"""A comparison on tiny models: the same examples both ways, scores as elsewhere, and nothing done twice."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import TuneConfig
from lora_jax.generation.engine import Engine
from lora_jax.peft.method import Adapted, MethodConfig
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full
from lora_jax.prompting.evaluate import evaluate
from lora_jax.prompting.incontext import execute
from lora_jax.prompting.incontext.config import InContextConfig, ShotPlan, TaskPlan, TunePlan
from lora_jax.prompting.incontext.execute import Comparison
from lora_jax.prompting.incontext.plan import check, list_shots, list_tunings
from lora_jax.prompting.incontext.scoring import LikelihoodTester, ask
from lora_jax.prompting.incontext.sources import Sources, deal, narrow
from lora_jax.prompting.shots import Shots
from lora_jax.runs.store import RunStore
from lora_jax.training.side_by_side import Stopped
from tests.prompting.places import FEEL

OPTIM = TuneConfig(batch_size=4, epochs=1, evaluations=1)
LORA: dict[str, MethodConfig] = {"LoRA": LoRA(rank=2, alpha=4.0, targets=("all",))}


def make_task(places: Path, **fields: Any) -> TaskPlan:
    given: dict[str, Any] = {"n_pool": 32, "n_dev": 8, "n_test": 12, "max_tokens": 64, **fields}
    return TaskPlan(name=f"files:{places / 'tasks' / 'feel'}", prompt=FEEL, **given)


def make_config(places: Path, **fields: Any) -> InContextConfig:
    decoder, encoder = (str(places / "models" / name) for name in ("decoder", "encoder"))
    plans: dict[str, Any] = {
        "shots": (ShotPlan(base=decoder, ks=(0, 2), draws=(0, 1)),),
        "tunings": (
            TunePlan(
                base=decoder,
                methods=LORA,
                n_train=(4,),
                draws=(0, 1),
                optim=OPTIM,
                n_steps=3,
                rates={"LoRA": (1e-3, 1e-2)},
            ),
            TunePlan(
                base=encoder,
                head=True,
                methods={"full": Full()},
                n_train=(4,),
                draws=(0,),
                optim=OPTIM,
                n_steps=3,
                rates={"full": (1e-3,)},
            ),
        ),
        **fields,
    }
    return InContextConfig(tasks={"feel": make_task(places)}, **plans)


@pytest.fixture(scope="module")
def config(places: Path) -> InContextConfig:
    return make_config(places)


@pytest.fixture(scope="module")
def sources(config: InContextConfig) -> Sources:
    return Sources(config, lambda line: None)


def run(config: InContextConfig, sources: Sources, folder: Path, stop=lambda: False) -> list[str]:
    said: list[str] = []
    store = RunStore(folder)
    store.check("tiny", [one.run_id for one in list_tunings(config, sources)])
    Comparison("tiny", config, sources, store).run_all(stop, said.append)
    return said


def test_shots_are_the_first_of_the_examples_that_fine_tuning_sees(
    config: InContextConfig, sources: Sources
) -> None:
    plan = config.tasks["feel"]
    words, head = (sources.get(str(plan_.base), "feel", plan_.head) for plan_ in config.tunings)
    for draw in range(3):
        dealt = [set(deal(words, n, draw)) for n in (2, 4, 8, 16)]
        assert all(few < more for few, more in itertools.pairwise(dealt))
        assert [sum(e.label == 0 for e in found) for found in dealt] == [1, 2, 4, 8]
        seen = narrow(words, plan, 8, draw)
        assert set(seen.task.train) == dealt[2]
        assert len(seen.train) == 8
        assert (seen.dev, seen.test) == (words.dev, words.test)
    assert deal(words, 8, 0) != deal(words, 8, 1)
    # The same rows for a head: its texts are what the template was filled with.
    texts = {f"Text: {e.text}\nFeeling:" for e in deal(head, 8, 1)}
    assert texts == {e.text for e in deal(words, 8, 1)}
    assert [e.label for e in head.task.test] == [e.label for e in words.task.test]


def test_fine_tuning_learns_the_words_that_prompts_are_scored_by(
    config: InContextConfig, sources: Sources
) -> None:
    words = sources.get(config.tunings[0].base, "feel")
    for example in words.task.train:
        assert example.label is not None
        assert example.completion == f" {FEEL.answers[example.label]}"


@pytest.mark.slow
@pytest.mark.parametrize("k", [0, 3])
def test_scores_are_those_of_evaluate(config: InContextConfig, sources: Sources, k: int) -> None:
    words = sources.get(config.shots[0].base, "feel")
    engine, tokenizer = Engine(words.model, words.base), words.pretrained.tokenizer
    found = ask(engine, tokenizer, FEEL, deal(words, k, 1), words.task.test, calibrate=True)
    for half, calibrate in ((found.plain, False), (found.calibrated, True)):
        other = evaluate(
            engine, tokenizer, words.task, FEEL, Shots(k, balanced=True, seed=1), calibrate=calibrate
        )
        assert half is not None
        assert half.rights == other.values["accuracy"]
        assert half.accuracy == other.scores["accuracy"]
        assert (half.n_tokens_asked, half.n_tokens_run) == (other.n_tokens_asked, other.n_tokens_run)


@pytest.mark.slow
def test_a_model_that_was_not_tuned_scores_as_a_prompt_without_examples(
    config: InContextConfig, sources: Sources
) -> None:
    words, tester = sources.get(config.shots[0].base, "feel"), LikelihoodTester(FEEL)
    tunings = list(list_tunings(config, sources))
    scores = tester(tunings[0].config, words, Adapted({}, words.base))
    engine = Engine(words.model, words.base)
    plain = ask(engine, words.pretrained.tokenizer, FEEL, (), words.task.test, calibrate=False).plain
    assert scores.values == plain.rights
    assert scores.loss == pytest.approx(plain.loss["value"])


@pytest.mark.slow
def test_a_comparison_is_made_once_and_goes_on_where_it_was_stopped(
    config: InContextConfig, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stopped):
        run(config, sources, tmp_path, lambda: any(tmp_path.glob("*/*.json")))
    before = {path: path.read_bytes() for path in tmp_path.glob("*/*.json")}
    assert len(before) == 1
    run(config, sources, tmp_path)
    assert all(path.read_bytes() == content for path, content in before.items()), "finished runs are kept"
    assert len(list(tmp_path.glob("prompts/*.json"))) == 3, "0 shots need one draw"
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*.json")]
    assert len(records) == 4, "two rates with the first draw, the better one with the second, a head"
    for record in records:
        tuning = record["finetuning"]
        assert tuning["metric"] == "accuracy"
        assert len(tuning["test_values"]) == 12
        assert record["n_steps"] == 3, "n_steps, not epochs, where there are few examples"
    monkeypatch.setattr(execute, "ask", None)
    monkeypatch.setattr(execute, "finetune_group", None)
    assert run(config, sources, tmp_path) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"shots": (ShotPlan(base="x", ks=(64,)),)}, ["ks holds 64", "32 examples"]),
        ({"shots": (ShotPlan(base="x", tasks=("fel",)),)}, ["'fel'", "feel"]),
        ({"tunings": (TunePlan(base="x", methods=LORA, n_train=(4,), tasks=("rte",)),)}, ["'rte'", "feel"]),
    ],
)
def test_a_mistake_in_the_plan_is_a_sentence(places: Path, fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(LoraJaxError) as error:
        make_config(places, **fields)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ShotPlan(base="x", ks=(-1,)), r"ks\[0\] is -1"),
        (lambda: TunePlan(base="x", methods=LORA, n_train=(0,)), r"n_train\[0\] is 0"),
        (lambda: TunePlan(base="x", methods=LORA, n_train=(1,), rates={"Lora": (1.0,)}), "LoRA"),
        (lambda: TunePlan(base="x", methods={}, n_train=(1,)), "needs a method"),
        (lambda: TaskPlan(name="xsum").asked, "choose a task with labels"),
        (lambda: TaskPlan(name="nope").asked, "has no prompt of its own"),
        (lambda: InContextConfig(tasks={}), "has no task"),
    ],
)
def test_a_bad_field_is_a_sentence(make: Any, words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        make()


@pytest.mark.parametrize(
    ("n", "words"),
    [(9, "the training pool of .* has 8 examples"), (8, "balanced 4 of them of label")],
)
def test_more_examples_than_there_are_is_said_before_anything_runs(places: Path, n: int, words: str) -> None:
    decoder = str(places / "models" / "decoder")
    plan = TunePlan(base=decoder, methods=LORA, draws=(0,), n_train=(n,))
    task = make_task(places, n_pool=8)  # drawn without regard to labels
    config = InContextConfig(tasks={"feel": task}, tunings=(plan,))
    with pytest.raises(LoraJaxError, match=words):
        check(config, Sources(config, lambda line: None))


def test_prompts_of_an_encoder_are_refused(places: Path) -> None:
    config = make_config(places, shots=(ShotPlan(base=str(places / "models" / "encoder")),), tunings=())
    with pytest.raises(LoraJaxError, match="is an encoder"):
        check(config, Sources(config, lambda line: None))


def test_every_number_of_shots_has_an_id_of_its_own(config: InContextConfig) -> None:
    ids = [shot.run_id for shot in list_shots(config)]
    assert len(set(ids)) == len(ids) == 3


def test_a_run_of_two_plans_is_made_once(places: Path, sources: Sources, config: InContextConfig) -> None:
    twice = make_config(places, tunings=(*config.tunings, *config.tunings))
    ids = [run.run_id for run in list_tunings(twice, sources)]
    assert ids == [run.run_id for run in list_tunings(config, sources)]
    assert len(set(ids)) == len(ids) == 5


@pytest.mark.slow  # a whole comparison with its programs compiled again
def test_programs_are_kept_while_they_are_shared_and_no_longer(
    config: InContextConfig, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 88 runs on two models once ended a process by its programs' memory mappings, of which there are 65,530
    n_dropped = 0

    def count() -> None:
        nonlocal n_dropped
        n_dropped += 1

    monkeypatch.setattr(execute.jax, "clear_caches", count)
    run(config, sources, tmp_path)
    assert n_dropped == 5, "two numbers of shots, two methods, and one of them again at its best rate"
