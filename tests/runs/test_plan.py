"""The plan: what it prices is what training does."""

import dataclasses
import itertools
from pathlib import Path

import pytest

from lora_jax.config import OptimConfig, RunConfig, run_id
from lora_jax.data import Dataset
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import count_parameters, flops_per_token
from lora_jax.runs import plan as plan_module
from lora_jax.runs.experiment import Experiment
from lora_jax.runs.plan import plan_runs
from lora_jax.runs.plan_table import format_bytes, format_plan, format_seconds, print_plan
from lora_jax.runs.sweep import chain, expand, over, overlay, product
from lora_jax.target import find_device
from lora_jax.training.trunk import Trunk, train_trunks

DEVICE = find_device("h200")


@pytest.fixture
def runs(base: RunConfig) -> list[RunConfig]:
    """Two trunks of three lengths, one of them under another seed, and two cosine runs; shuffled."""
    step = base.tokens_per_step
    tokens = over("n_tokens", [60 * step, 20 * step, 40 * step])
    cosine = product([{"optim.schedule": "cosine"}], tokens[:2])
    return expand(base, chain(product(over("seed", [1, 0]), tokens), cosine))


def test_runs_of_a_trunk_stand_together_shortest_first_and_small_models_first(
    runs: list[RunConfig], base: RunConfig
) -> None:
    big = [overlay(run, {"model.d_model": 16}) for run in runs]
    planned = plan_runs([*big, *runs], (), DEVICE)
    assert sorted(item.run_id for item in planned) == sorted(run_id(run) for run in [*big, *runs])
    trunks = [item.trunk_id for item in planned]
    assert len(set(trunks)) == 2 * 4
    assert [t for t, before in zip(trunks, [None, *trunks], strict=False) if t != before] == list(
        dict.fromkeys(trunks)
    ), "a trunk's runs are not together"
    for first, second in itertools.pairwise(planned):
        assert first.n_params <= second.n_params
        if first.trunk_id == second.trunk_id:
            assert first.run.n_tokens < second.run.n_tokens


def test_own_steps_are_what_training_takes(runs: list[RunConfig], dataset: Dataset, tmp_path: Path) -> None:
    planned = plan_runs(runs, (), DEVICE)
    trunks: dict[str, list[RunConfig]] = {}
    for item in planned:
        trunks.setdefault(item.trunk_id, []).append(item.run)
    trained: dict[RunConfig, int] = {}
    for name, members in trunks.items():
        train_trunks(
            [Trunk(tuple(members), dataset, tmp_path / name)],
            1,
            on_result=lambda result: trained.update({result.run: result.cost.trained_tokens}),
            should_stop=lambda: False,
        )
    assert trained == {item.run: item.own_steps * item.run.tokens_per_step for item in planned}
    wsd = [item.own_steps for item in planned if item.run.optim.schedule == "wsd"]
    assert sum(wsd) == 2 * (60 + 8 + 4)  # the longest, and the cooldowns of the others
    cosine = [item for item in planned if item.run.optim.schedule == "cosine"]
    assert [item.own_steps for item in cosine] == [item.run.n_steps for item in cosine]


def test_finished_runs_cost_nothing_and_pay_for_nobody(runs: list[RunConfig]) -> None:
    everything = plan_runs(runs, (), DEVICE)
    done = {item.run_id for item in everything if item.run.n_steps == 20}
    planned = {item.run_id: item for item in plan_runs(runs, done, DEVICE)}
    for item in everything:
        now = planned[item.run_id]
        assert now.finished == (item.run_id in done)
        assert (now.own_steps == 0) == (now.seconds == 0.0) == now.finished
        assert (now.flops, now.memory_bytes) == (item.flops, item.memory_bytes)
    middle = [item for item in planned.values() if item.run.n_steps == 40]
    assert [item.own_steps for item in middle] == [40, 40], "no state of the finished run is counted on"
    assert sum(item.seconds for item in plan_runs(runs, planned, DEVICE)) == 0


def test_flops_are_exact_and_counts_those_of_the_model(runs: list[RunConfig]) -> None:
    for item in plan_runs(runs, (), DEVICE):
        run = item.run
        counts = count_parameters(run.model)
        assert item.flops == flops_per_token(run.model, 16) * run.n_tokens
        assert (item.n_params, item.n_params_with_head) == (counts.non_embedding, counts.with_head)


def test_seconds_follow_the_steps(runs: list[RunConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunConfig] = []
    monkeypatch.setattr(plan_module, "seconds_per_step", lambda run, device: asked.append(run) or 2.0)
    planned = plan_runs(runs, (), None)
    assert len(asked) == 1, "one shape is timed once"
    for item in planned:
        evaluation = item.run.data.heldout_tokens / item.run.tokens_per_step / 3
        assert item.seconds == pytest.approx(2.0 * (item.own_steps + evaluation))


def test_activations_are_half_as_wide_on_an_accelerator(base: RunConfig) -> None:
    [wide], [narrow] = plan_runs([base], (), None), plan_runs([base], (), DEVICE)
    assert narrow.memory_bytes < wide.memory_bytes
    [exact] = plan_runs([overlay(base, {"model.compute_dtype": "float32"})], (), DEVICE)
    assert narrow.memory_bytes < exact.memory_bytes


# ---- as a table


def test_the_table_names_every_run_and_the_total(runs: list[RunConfig]) -> None:
    done = {run_id(runs[0])}
    planned = plan_runs(runs, done, DEVICE)
    text = format_plan(planned, "a guess")
    for item in planned:
        [line] = [line for line in text.splitlines() if item.run_id in line]
        shown = "done" if item.finished else f"{item.seconds:,.1f}"
        for cell in (f"{item.n_params:,}", f"{item.run.n_tokens:,}", f"{item.flops:.2e}", shown):
            assert cell in line.split()
    assert "8 runs, 1 finished" in text
    assert f"{sum(item.flops for item in planned):.2e} FLOPs" in text
    assert text.endswith("Estimates: a guess")


def test_one_run_is_one_run(runs: list[RunConfig]) -> None:
    text = format_plan(plan_runs(runs[:1], (), DEVICE), "a guess")
    assert [line for line in text.splitlines() if line.startswith("1 run, 0 finished. ")]


def test_the_plan_shows_the_rate_that_is_used_and_the_rule(base: RunConfig) -> None:
    large = overlay(base, {"model.d_model": 32})
    planned = plan_runs([base, large], (), DEVICE)
    text = format_plan(planned, "a guess")
    for item in planned:
        used = 4e-3 * (100_000 / item.n_params) ** 0.5
        [line] = [line for line in text.splitlines() if item.run_id in line]
        assert line.split()[-1] == f"{used:.3g}"
    assert "optim.learning_rate (0.004) times (100,000 / N)^0.5" in text
    constant = overlay(base, {"optim.lr_size_exponent": 0.0, "optim.learning_rate": 1e-3})
    text = format_plan(plan_runs([constant], (), DEVICE), "a guess")
    assert "0.001" in text.splitlines()[2].split()
    assert "(0.001) times (100,000 / N)^0. The" in " ".join(text.split())


def test_the_experiments_own_device_is_priced_unless_another_is_asked(
    base: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = Experiment("tiny", "?", (base,), device="h200")
    print_plan(experiment, ())
    assert "30 % of the peak of h200" in capsys.readouterr().out
    print_plan(experiment, (), "tpu-v4")
    assert "30 % of the peak of tpu-v4" in capsys.readouterr().out
    print_plan(dataclasses.replace(experiment, device=None), ())
    assert "this machine's matmuls" in capsys.readouterr().out
    with pytest.raises(LoraJaxError, match=r"nearest: 'h200'"):
        print_plan(experiment, (), "h20")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (90, "1.5 min"), (5399, "90.0 min"), (7200, "2.0 h")]
)
def test_seconds_in_words(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_bytes_in_words() -> None:
    assert [format_bytes(n) for n in (5e6, 1.25e9)] == ["5 MB", "1.2 GB"]


def test_a_run_of_its_own_pays_for_all_its_steps(base: RunConfig) -> None:
    [item] = plan_runs(
        [dataclasses.replace(base, optim=OptimConfig(batch_size=2, warmup_steps=3))], (), DEVICE
    )
    assert item.own_steps == item.run.n_steps == 40
