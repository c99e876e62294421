"""Every method through lanes: three runs side by side are what each is alone, and touch nothing frozen."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import ModelConfig, OptimConfig
from lora_jax.data.tasks import Batch
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.step import dropout_key, init_tuning, join_inputs, make_tune_step
from lora_jax.model.stacks import split_blocks
from lora_jax.params import Params
from lora_jax.peft.method import Adapted, MethodConfig, adapt
from lora_jax.peft.methods.adapters import AdapterH, AdapterL
from lora_jax.peft.methods.combined import Combined
from lora_jax.peft.methods.dora import DoRA
from lora_jax.peft.methods.ia3 import IA3
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.pissa import PiSSA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.subset import TopLayers
from lora_jax.peft.methods.vera import VeRA
from lora_jax.peft.stacking import SCALE, adapt_all, common_shapes, cut, own_shapes, program
from lora_jax.training.lanes import Lanes, compile_step
from lora_jax.training.optimizers.optimizer import Hyperparams
from lora_jax.training.step import StepInput

from .test_laws import LAWS, NAMES, Law

NUMBERS = OptimConfig()
CHEAP = {"6-LoRA"}  # with dropout, upper layers, a rate of its own for B; the others take 2 to 4 s each
every_method = pytest.mark.parametrize(
    "law",
    [
        pytest.param(law, id=name, marks=() if name in CHEAP else pytest.mark.slow)
        for law, name in zip(LAWS, NAMES, strict=True)
    ],
)


class Run(NamedTuple):
    """A run by hand: its method, and what is data."""

    config: MethodConfig
    seed: int = 0
    rate: float = 3e-3
    decay: float = 0.1
    clip: float = 1.0
    lengths: tuple[int, ...] = (8, 12)


def make_input(model: ModelConfig, run: Run, step: int) -> StepInput:
    """Rows of random tokens behind which there is padding; their length changes with seed and step."""
    rng = np.random.default_rng([run.seed, step])
    shape = (3, run.lengths[(run.seed + step) % len(run.lengths)])
    tokens = rng.integers(0, model.vocab_size, shape).astype(np.int32)
    n_real = rng.integers(2, shape[1] + 1, (3, 1))
    is_real = np.arange(shape[1]) < n_real
    batch = Batch(
        tokens_BT=tokens,
        segments_BT=is_real.astype(np.int32),
        positions_BT=(np.arange(shape[1]) * is_real).astype(np.int32),
        types_BT=np.zeros(shape, np.int32),
        targets_BT=np.roll(tokens, -1, 1),
        weights_BT=is_real.astype(np.float32),
        labels_B=np.zeros(3, np.int32),
        example_weights_B=np.ones(3, np.float32),
    )
    hyperparams = Hyperparams(*(np.float32(x) for x in (run.rate * (1 - step / 250), run.decay, run.clip)))
    return StepInput(batch, hyperparams, dropout_key(run.seed))


def train_alone(model: ModelConfig, base: Params, run: Run, n_steps: int) -> tuple[list[float], Params]:
    """As one run was before there were lanes: its own weights and program, and nothing padded."""
    method = run.config.build(model)
    trainable, frozen = adapt(base, method, run.seed)
    copied = Adapted({path: jnp.array(w, copy=True) for path, w in trainable.items()}, frozen)
    state, losses = init_tuning(copied, method, NUMBERS), []
    step = compile_step(make_tune_step(model, run.config, NUMBERS), side_by_side=False)
    for i in range(n_steps):
        state, measured = step(state, frozen, {}, make_input(model, run, i))
        losses.append(float(measured.loss))
    return losses, state.trainable


class Group:
    """Runs in lanes, drawn and padded as `finetune.group` does it."""

    def __init__(self, model: ModelConfig, base: Params, runs: Sequence[Run]) -> None:
        self.model, self.runs = model, list(runs)
        self.methods = [run.config.build(model) for run in runs]
        self.adapted = adapt_all(base, [{}] * len(runs), self.methods, [run.seed for run in runs])
        states = [init_tuning(a, m, NUMBERS) for a, m in zip(self.adapted, self.methods, strict=True)]
        self.step = make_tune_step(model, program(runs[0].config), NUMBERS)
        self.lanes = Lanes(self.step, states, [a.frozen for a in self.adapted], join_inputs)

    def train(self, n_steps: int, first: int = 0) -> np.ndarray:
        """Train to n_steps from step `first`; return the losses (n_steps - first, n_runs)."""
        inputs = ([make_input(self.model, run, i) for run in self.runs] for i in range(first, n_steps))
        return np.array([self.lanes.step(given) for given in inputs])

    def weights(self, lane: int) -> Params:
        return cut(self.lanes.read(lane).trainable, own_shapes(self.methods[lane]))


def three(config: MethodConfig) -> list[Run]:
    return [Run(config), Run(config, 1, 1e-2, 0.0, 0.05), Run(config, 2, 1e-3, 0.5)]


@every_method
def test_three_lanes_are_three_runs(
    law: Law, models: dict[str, ModelConfig], bases: dict[str, Params]
) -> None:
    model, base = models["llama"], bases["llama"]
    if type(law.config).__name__ == "BitFit":
        model, base = models["gpt2"], bases["gpt2"]
    runs = three(law.config)
    group = Group(model, base, runs)
    frozen = [{p: np.array(w) for p, w in a.frozen.items()} for a in group.adapted]
    losses = group.train(2)
    n_programs = compile_step(group.step, True)._cache_size()
    losses = np.concatenate([losses, group.train(10, 2)])
    assert compile_step(group.step, True)._cache_size() == n_programs
    for lane, run in enumerate(runs):
        alone, weights = train_alone(model, base, run, 10)
        np.testing.assert_allclose(losses[:, lane], alone, rtol=1e-5)
        assert weights.keys() == group.weights(lane).keys()
        now = group.adapted[lane].frozen
        assert all(np.asarray(now[p]).tobytes() == w.tobytes() for p, w in frozen[lane].items())
    if not isinstance(law.config, PiSSA):  # which moves a part of the base into its factors
        of_base = split_blocks(base, group.methods[0].n_top).keys() & frozen[0].keys()
        first = group.adapted[0].frozen
        assert all(a.frozen[p] is first[p] for p in of_base for a in group.adapted), "one base for all"


def test_other_numbers_run_the_same_program(models: dict[str, ModelConfig], bases: dict[str, Params]) -> None:
    """Rate, decay, clipping, seed, alpha and rank are data: what another group has compiled is used."""
    model, base = models["llama"], bases["llama"]
    one = Group(model, base, [Run(LoRA(rank=2)), Run(LoRA(rank=2, alpha=4.0), 1)])
    one.train(3)
    compiled = compile_step(one.step, True)
    n_programs = compiled._cache_size()
    other = Group(
        model,
        base,
        [Run(LoRA(rank=1, init="uniform", rslora=True), 0, 0.1, 0.3, 0.2), Run(LoRA(rank=2, alpha=1.0), 1)],
    )
    other.train(3)
    assert compile_step(other.step, True) is compiled
    assert compiled._cache_size() == n_programs > 0


PADDED = {
    "LoRA": [LoRA(rank=r, alpha=a, targets=("q", "down")) for r, a in ((1, 16.0), (4, 2.0), (8, 16.0))],
    "patterns": [
        LoRA(rank=2, targets=("q", "down")),
        LoRA(rank=4, ranks=(("q", 1),), alphas=(("down", 3.0),), rslora=True, targets=("q", "down")),
    ],
    "DoRA": [DoRA(rank=1, targets=("all",)), DoRA(rank=5, alpha=3.0, targets=("all",))],
    "PiSSA": [PiSSA(rank=1), PiSSA(rank=6, alpha=3.0)],
    "VeRA": [VeRA(rank=2), VeRA(rank=8, d_start=0.5, projection_seed=3)],
    "AdapterH": [AdapterH(rank=2), AdapterH(rank=6, near_identity=True)],
    "AdapterL": [AdapterL(rank=1), AdapterL(rank=7)],
    "Combined": [Combined(methods=(LoRA(rank=r, targets=("o",)), IA3())) for r in (1, 5)],
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in PADDED])
def test_padded_ranks_are_the_runs_own(
    name: str, models: dict[str, ModelConfig], bases: dict[str, Params]
) -> None:
    """The ranks that a run has not stay exactly zero under AdamW with decay and clipping; its own move."""
    model, base = models["llama"], bases["llama"]
    runs = [Run(config, i, decay=0.5, lengths=(12,)) for i, config in enumerate(PADDED[name])]
    group = Group(model, base, runs)
    losses = group.train(20)
    padding = 0
    for lane, (run, method) in enumerate(zip(runs, group.methods, strict=True)):
        alone, weights = train_alone(model, base, run, 20)
        np.testing.assert_allclose(losses[:, lane], alone, rtol=1e-5)
        for path, weight in group.weights(lane).items():
            assert weight.shape == weights[path].shape == method.specs[path].shape
            np.testing.assert_allclose(weight, weights[path], atol=2e-4, err_msg=path)
        state = group.lanes.read(lane)
        moments = jax.tree.leaves(state.opt_state)
        total = sum(jnp.count_nonzero(m) for m in moments if m.ndim)
        cut_state = cut(state, own_shapes(method))
        own = sum(jnp.count_nonzero(m) for m in jax.tree.leaves(cut_state.opt_state) if m.ndim)
        assert total == own, "a moment of a rank that is not there has moved"
        for path, weight in state.trainable.items():
            outside = np.array(weight)
            outside[tuple(slice(n) for n in method.specs[path].shape)] = 0
            assert not outside.any(), path
            padding += weight.size - method.specs[path].size
    assert padding > 0


@pytest.mark.slow
def test_two_hundred_steps_and_the_same_start(
    models: dict[str, ModelConfig], bases: dict[str, Params]
) -> None:
    """At rates at which a run is not chaotic by itself.

    At a rate of 1e-2 on these random tokens one run whose base is moved by 1e-7 leaves the unmoved one by
    1e-5 after 60 steps and by 5e-3 after 150, and so do lanes.
    """
    model, base = models["llama"], bases["llama"]
    config = LoRA(rank=4, targets=("all",))
    runs = [Run(config, 0, 1e-3), Run(config, 1, 3e-4, 0.0, 0.05), Run(config, 2, 5e-4, 0.5)]
    group = Group(model, base, runs)
    for lane, run in enumerate(runs):
        start = adapt(base, group.methods[lane], run.seed).trainable
        assert all((group.weights(lane)[p] == w).all() for p, w in start.items()), "the same draw, exactly"
    losses = group.train(200)
    for lane, run in enumerate(runs):
        alone, _ = train_alone(model, base, run, 200)
        worst = np.abs(losses[:, lane] / alone - 1).max()
        print(f"lane {lane}: largest relative difference of a loss {worst:.1e}")
        assert worst < 1e-5


def test_a_lane_that_becomes_nan_is_alone_in_it(
    models: dict[str, ModelConfig], bases: dict[str, Params]
) -> None:
    model, base, config = models["llama"], bases["llama"], LoRA(rank=2)
    with_nan = Group(model, base, [Run(config), Run(config, 1, rate=1e30)]).train(8)
    without = Group(model, base, [Run(config), Run(config, 1)]).train(8)
    assert np.isnan(with_nan[-1, 1])
    np.testing.assert_array_equal(with_nan[:, 0], without[:, 0])


def test_scales_are_no_parameters(models: dict[str, ModelConfig], bases: dict[str, Params]) -> None:
    method = LoRA(rank=2).build(models["llama"])
    [adapted] = adapt_all(bases["llama"], [{}], [method], [0])
    alone = adapt(bases["llama"], method, 0)
    assert adapted.trainable.keys() == alone.trainable.keys()
    assert adapted.frozen.keys() - alone.frozen.keys() == {SCALE + "attn/q", SCALE + "attn/v"}
    assert not any(path.startswith(SCALE) for path in method.specs)


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        (LoRA(targets=("q",)), LoRA(targets=("v",)), "must be of one method and its targets"),
        (Prefix(length=2), Prefix(length=3), r"\(2, 2, 1, 8\) and \(2, 3, 1, 8\), only ranks may differ"),
        (TopLayers(layers=1), TopLayers(layers=2), "must be of one method"),
    ],
)
def test_other_shapes_are_refused(
    one: MethodConfig, two: MethodConfig, words: str, models: dict[str, ModelConfig]
) -> None:
    with pytest.raises(LoraJaxError, match=words):
        common_shapes([one.build(models["llama"]), two.build(models["llama"])])


@pytest.mark.parametrize("law", LAWS, ids=NAMES)
def test_what_is_data_changes_no_program(law: Law, models: dict[str, ModelConfig]) -> None:
    """The configuration that stands for others has their trained paths, rates and stacks."""
    stands, method = program(law.config), law.config.build(models["gpt2"])
    built: Any = stands.build(models["gpt2"])
    assert (built.trainable, built.rates, built.n_top) == (method.trainable, method.rates, method.n_top)
    assert built.specs.keys() == method.specs.keys()
    assert program(stands) == stands
    if isinstance(law.config, LoRA):
        assert program(replace(law.config, alpha=7.0, rank=4)) == stands
