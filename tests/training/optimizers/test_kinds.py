"""What holds for every optimizer: lanes, resumption, memory, identity; and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lora_jax.config import (
    LLAMA,
    ClassConfig,
    ClassesConfig,
    DataConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    TaskConfig,
    run_id,
    to_dict,
)
from lora_jax.data import Dataset
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneConfig, TuneConfig
from lora_jax.finetuning.group import lane_shape
from lora_jax.model.declare import declare
from lora_jax.params import Spec
from lora_jax.peft.methods.lora import LoRA
from lora_jax.runs.pretraining import is_cooled
from lora_jax.runs.sweep import parse_overrides
from lora_jax.training import optimizers
from lora_jax.training.checkpoint import Checkpoints
from lora_jax.training.cpu_memory import memory_bytes
from lora_jax.training.lanes import Lanes
from lora_jax.training.loop import pretrain
from lora_jax.training.optimizers import find_optimizers, optimizer_from_dict
from lora_jax.training.optimizers.adamw import AdamW
from lora_jax.training.optimizers.custom import Custom
from lora_jax.training.optimizers.lion import Lion
from lora_jax.training.optimizers.muon import Muon
from lora_jax.training.optimizers.optimizer import Hyperparams, Scale, make_hyperparams
from lora_jax.training.optimizers.schedule_free import ScheduleFree
from lora_jax.training.optimizers.sgd import SGD
from lora_jax.training.pretraining import init_pretraining, make_input, make_pretraining_step
from lora_jax.training.scales import scales_of
from lora_jax.training.step import evaluation_weights
from tests.training.step_memory import make_run, measure_run

from .kinds import HERE, KINDS, RATES, make_given, random_gradients, with_optimizer

MODEL = ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=256, context=32, **LLAMA)
RUN = RunConfig(model=MODEL, data=DataConfig(seq_len=32), n_tokens=10**6)
SPECS = declare(MODEL)
SUMS = Custom(function=f"{HERE}:sums", numbers=(("decay", 1.0),))
SHAPE_RULE: dict[str, Any] = {"shape_rule": "jordon"}
NAME: dict[str, Any] = {"optimizer": "muon"}
CLASS: dict[str, Any] = {"optimizer": Muon}
# The tests of one kind come one after another, and so use the programs that are still there.
every_kind = pytest.mark.parametrize("name", KINDS, scope="module")
FIRST = ("adamw", "muon")  # of a test that compiles four programs for each the others are slow


@pytest.mark.parametrize(
    "name", [kind if kind in FIRST else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_lanes_are_what_each_run_is_alone(name: str) -> None:
    optim = with_optimizer(RUN, KINDS[name], batch_size=4).optim
    step, rate = make_pretraining_step(MODEL, optim), RATES[name]
    numbers: list[dict[str, float]] = [dict(rate=rate), dict(rate=rate / 3, decay=0.0, clip=0.1)]
    together = Lanes(step, [init_pretraining(MODEL, optim, seed) for seed in range(2)])
    alone = [Lanes(step, [init_pretraining(MODEL, optim, seed)]) for seed in range(2)]
    for i in range(4):
        given = [make_given(optim, 2 * i + lane, **own) for lane, own in enumerate(numbers)]
        losses = np.asarray(together.step(given))
        solo = [float(np.asarray(one.step([own]))[0]) for one, own in zip(alone, given, strict=True)]
        np.testing.assert_allclose(losses, solo, rtol=1e-5)
    for lane, one in enumerate(alone):
        for mine, other in zip(
            jax.tree.leaves(together.read(lane)), jax.tree.leaves(one.read(0)), strict=True
        ):
            np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4)


@every_kind
def test_a_restored_state_goes_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    optim = with_optimizer(RUN, KINDS[name], batch_size=4).optim
    step = make_pretraining_step(MODEL, optim)
    whole = Lanes(step, [init_pretraining(MODEL, optim, 0)])
    checkpoints = Checkpoints(tmp_path)
    for i in range(5):
        if i == 3:
            checkpoints.save(whole.read(0), np.zeros(3, np.float32))
        whole.step([make_given(optim, i, RATES[name])])
    state, _ = Checkpoints(tmp_path).restore(init_pretraining(MODEL, optim, 1))
    again = Lanes(step, [state])
    for i in (3, 4):
        again.step([make_given(optim, i, RATES[name])])
    for mine, other in zip(jax.tree.leaves(again.read(0)), jax.tree.leaves(whole.read(0)), strict=True):
        np.testing.assert_array_equal(mine, other)


@every_kind
def test_a_step_lowers_the_loss_and_the_state_is_as_large_as_predicted(name: str) -> None:
    run = with_optimizer(RUN, KINDS[name], batch_size=4)
    lanes = Lanes(make_pretraining_step(MODEL, run.optim), [init_pretraining(MODEL, run.optim, 0)])
    given = make_given(run.optim, 0, RATES[name], decay=0.0)
    losses = [float(np.asarray(lanes.step([given]))[0]) for _ in range(12)]
    assert losses[-1] < losses[0] - 0.1
    specs, state = declare(MODEL), lanes.read(0)
    held = sum(leaf.size for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim)
    assert held == sum(KINDS[name].state_arrays(spec) * spec.size for spec in specs.values())
    adam = replace(run, optim=replace(run.optim, optimizer=None))
    difference = 4 * (2 * sum(spec.size for spec in specs.values()) - held)
    assert memory_bytes(adam) - memory_bytes(run) == pytest.approx(difference)


@pytest.mark.slow  # two compilations
def test_memory_of_muons_compiled_step_is_as_predicted() -> None:
    adam = make_run(128, 4, 128, 32, 256, **LLAMA)
    muon = replace(adam, optim=replace(adam.optim, optimizer=Muon()))
    measured = [measure_run(run) for run in (adam, muon)]
    matrices = sum(spec.size for spec in declare(adam.model).values() if Muon().rule_of(spec) == "Muon")
    assert measured[0] - measured[1] == pytest.approx(4 * matrices, rel=0.05)
    assert memory_bytes(muon) == pytest.approx(measured[1], rel=0.05)


def test_no_two_optimizers_share_a_run_id_and_adamw_keeps_its_own() -> None:
    run = RUN
    assert "optimizer" not in to_dict(run)["optim"]
    others = [
        with_optimizer(run, optimizer, schedule="constant")
        for optimizer in (*KINDS.values(), Muon(), Lion(beta1=0.8))
    ]
    ids = {run_id(other) for other in others}
    assert len(ids) == len(others)
    for other in others:
        fields = to_dict(other)["optim"]["optimizer"]
        assert fields["kind"] in find_optimizers()
        assert optimizer_from_dict(fields) == other.optim.optimizer


def test_lion_is_the_sign_of_its_momentum() -> None:
    specs = {"w": Spec((("x", 3), ("y", 4)), ("x",))}
    rule, m = Lion().transform(specs, {}), np.zeros((3, 4))
    params = {"w": jnp.zeros((3, 4))}
    state = rule.init(params)
    for gradient in random_gradients(specs, 5):
        updates: Any
        updates, state = rule.update(gradient, state, params, hyperparams=Hyperparams(1.0, 0.0, 1e9))
        np.testing.assert_array_equal(updates["w"], np.sign(0.9 * m + 0.1 * gradient["w"]))
        m = 0.99 * m + 0.01 * gradient["w"]


def test_schedule_free_agrees_with_optax() -> None:
    specs = {"w": Spec((("x", 3), ("y", 4)), ("x",)), "v": Spec((("x", 3), ("y", 2)), ("x",))}
    optimizer, rate, decay = ScheduleFree(beta2=0.99), 0.05, 0.2
    rule = optimizer.transform(specs, {})
    other = optax.contrib.schedule_free_adamw(rate, b1=0.9, b2=0.99, weight_decay=decay)
    [start] = random_gradients(specs, 1, seed=1)
    mine: Any = {path: jnp.asarray(weight) for path, weight in start.items()}
    theirs: Any = mine
    state, other_state = rule.init(mine), other.init(theirs)
    for gradient in random_gradients(specs, 20):
        updates: Any
        updates, state = rule.update(gradient, state, mine, hyperparams=Hyperparams(rate, decay, 1e9))
        mine = {path: weight - updates[path] for path, weight in mine.items()}
        updates, other_state = other.update(gradient, other_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    averaged: Any = optax.contrib.schedule_free_eval_params(other_state, theirs)
    for path in specs:
        np.testing.assert_allclose(mine[path], theirs[path], rtol=1e-4, atol=1e-5)
        found = optimizer.evaluation_point(mine, state)[path]
        np.testing.assert_allclose(found, averaged[path], rtol=1e-4, atol=1e-5)
        assert abs(found - mine[path]).max() > 1e-3, "it is evaluated at another point"


def test_a_schedule_free_run_is_kept_at_its_average_and_counts_as_cooled(
    base: RunConfig, dataset: Dataset
) -> None:
    run = with_optimizer(base, ScheduleFree(), learning_rate=0.01)
    result = pretrain(run, dataset)
    optim = run.optim
    lanes = Lanes(make_pretraining_step(run.model, optim), [init_pretraining(run.model, optim, run.seed)])
    for step in range(run.n_steps):
        lanes.step([make_input(run, dataset, step)])
    state = lanes.read(0)
    assert result.weights is not None
    for path, weight in evaluation_weights(state, ScheduleFree()).items():
        np.testing.assert_allclose(result.weights[path], weight, rtol=1e-5, atol=1e-6)
    assert any(abs(result.weights[path] - weight).max() > 1e-3 for path, weight in state.trainable.items())
    assert is_cooled(run)
    assert not is_cooled(with_optimizer(base, Lion(), schedule="constant"))


def test_an_eps_of_a_weight_is_adams_with_that_eps() -> None:
    specs = {"w": Spec((("x", 3), ("y", 4)), ("x",))}
    one, other = (
        AdamW(eps=1e-2).transform(specs, {"w": Scale(eps=10.0)}),
        AdamW(eps=1e-1).transform(specs, {}),
    )
    params = {"w": jnp.ones((3, 4))}
    states: list[Any] = [one.init(params), other.init(params)]
    for gradient in random_gradients(specs, 5):
        found: list[Any] = []
        for i, rule in enumerate((one, other)):
            updates, states[i] = rule.update(
                gradient, states[i], params, hyperparams=Hyperparams(1.0, 0.1, 1.0)
            )
            found.append(updates)
        np.testing.assert_allclose(found[0]["w"], found[1]["w"], rtol=1e-5)


def test_classes_of_weights_have_rates_decays_and_clips_of_their_own() -> None:
    specs = {
        "w": Spec((("x", 3), ("y", 4)), ("x",)),
        "embed": Spec((("vocab", 5), ("d_model", 4))),
        "b": Spec((("x", 3),)),
    }
    classes = ClassesConfig(
        embedding=ClassConfig(rate=0.5, decay=2.0),
        vector=ClassConfig(clip_norm=0.25),
        matrix=ClassConfig(decay=0.0),
    )
    optim = OptimConfig(optimizer=SGD(momentum=0.0), classes=classes, weight_decay=0.1, clip_norm=1.0)
    scales = scales_of(specs, optim)
    assert {path: (scale.rate, scale.decay) for path, scale in scales.items()} == {
        "w": (1.0, 0.0),
        "embed": (0.5, 2.0),
        "b": (1.0, 0.0),
    }
    rule = SGD(momentum=0.0).transform(specs, scales)
    params = {path: jnp.ones(spec.shape) for path, spec in specs.items()}
    [gradient] = random_gradients(specs, 1)
    updates: Any
    updates, _ = rule.update(gradient, rule.init(params), params, hyperparams=make_hyperparams(optim, 1.0))
    assert np.linalg.norm(updates["b"]) == pytest.approx(0.25, rel=1e-5)
    rest = np.sqrt((updates["w"] ** 2).sum() + ((updates["embed"] - 0.2) ** 2).sum())
    assert rest == pytest.approx(1.0, rel=1e-5)
    with pytest.raises(LoraJaxError, match=r"optim.classes.readout is given, and none of the 3 weights"):
        scales_of(specs, OptimConfig(classes=ClassesConfig(readout=ClassConfig(rate=2.0))))


def test_ranks_stand_side_by_side_only_where_padding_changes_nothing() -> None:
    def shape(optimizer: Any, rank: int) -> object:
        tune = TuneConfig(optimizer=optimizer)
        return lane_shape(
            FinetuneConfig(base="b", task=TaskConfig(), method=LoRA(rank=rank), label="l", optim=tune)
        )

    assert shape(None, 2) == shape(None, 4)
    assert shape(Lion(), 2) == shape(Lion(), 4) != shape(None, 4)
    assert shape(Muon(), 2) != shape(Muon(), 4)


def test_an_override_names_an_optimizer_with_its_numbers() -> None:
    [chosen] = parse_overrides(["optim.optimizer=muon,beta=0.9,shape_rule=jordan"]).values()
    assert chosen == Muon(beta=0.9, shape_rule="jordan")
    assert optimizers.Muon is Muon


BAD: list[tuple[Any, str]] = [
    (lambda: parse_overrides(["optim.optimizer=muom"]), "'muom', which is no optimizer.*nearest: 'muon'"),
    (
        lambda: parse_overrides(["optim.optimizer=muon,betta=1"]),
        "muon has no number 'betta'.*'beta'",
    ),
    (lambda: optimizer_from_dict({"kind": "lian"}), "no optimizer 'lian'.*nearest: 'lion'"),
    (lambda: optimizer_from_dict({"kind": "sgd", "momentun": 0.9}), "no number 'momentun'.*'momentum'"),
    (lambda: Muon(beta=1.0), "optim.optimizer.beta is 1.0, but it must be a number from 0 to below 1"),
    (lambda: replace(Muon(), **SHAPE_RULE), "shape_rule is 'jordon', but it must be 'moonlight' or"),
    (lambda: OptimConfig(**NAME), "optim.optimizer is 'muon', but it must be an optimizer"),
    (lambda: OptimConfig(**CLASS), r"must be an optimizer with its numbers, such as Muon\(\)"),
    (lambda: OptimConfig(optimizer=Lion(), beta2=0.99), "optim.beta2 is 0.99 beside optim.optimizer lion"),
    (lambda: OptimConfig(optimizer=ScheduleFree()), "schedule_free, which averages .* set it to 'constant'"),
    (lambda: OptimConfig(schedule="cosine", cooldown="linear"), "optim.cooldown is 'linear' and .*'cosine'"),
    (lambda: Custom(function="rms"), "function is 'rms', but it must be 'module:function'"),
    (lambda: Custom(function="no_such_module:rms"), "importing no_such_module failed"),
    (lambda: Custom(function=f"{HERE}:nothing"), "has no function 'nothing'"),
    (lambda: Custom(function=f"{HERE}:rms", source="abc"), "has changed since"),
    (lambda: Custom(function=f"{HERE}:rms").transform(SPECS, {}), "cannot be called with its numbers"),
    (lambda: SUMS.transform(SPECS, {}), r"turns the gradient of \S+ of shape .* it must keep every shape"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_a_mistake_is_a_sentence(make: Any, words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        make()
