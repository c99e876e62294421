"""model.remat = "fit": the cheapest policy that fits, one identity everywhere, the program of its policy."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from lora_jax.config import RunConfig, run_id, to_dict
from lora_jax.errors import LoraJaxError
from lora_jax.runs.plan import plan_runs
from lora_jax.runs.plan_table import format_plan
from lora_jax.target import Target, find_device, parse_target
from lora_jax.training import remat as module
from lora_jax.training.device_memory import Split, predict_memory
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.remat import resolve_run, usable_bytes
from lora_jax.training.step import StepInput
from tests.training.test_device_memory import make_run

H100 = parse_target("h100")


def with_remat(run: RunConfig, remat: str) -> RunConfig:
    return replace(run, model=replace(run.model, remat=remat))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("n_rows", "wanted"), [(32, "none"), (256, "dots"), (512, "full")])
def test_the_cheapest_policy_that_fits_is_taken(n_rows: int, wanted: str) -> None:
    run = make_run(768, 12, 12, 1024, n_rows, remat="fit")
    traced, choice = resolve_run(run, H100)
    assert choice is not None
    assert traced.model.remat == choice.remat == wanted
    assert choice.fits
    for name, needed in choice.needed:
        assert needed == predict_memory(with_remat(run, name), H100).peak
        assert (needed <= usable_bytes(H100)) == (name == wanted), "those before it do not fit"
    assert f"remat fit is {wanted}, the cheapest that fits in 60.0 GB of a device" in choice.explain()


def test_several_devices_that_share_the_rows_recompute_less() -> None:
    run = make_run(768, 12, 12, 1024, 512, remat="fit")
    assert resolve_run(run, H100)[0].model.remat == "full"
    assert resolve_run(run, parse_target("h100:8"), Split(fsdp=8))[0].model.remat == "none"


def test_what_nothing_fits_is_said() -> None:
    _, choice = resolve_run(make_run(2048, 48, 16, 2048, 512, remat="fit"), H100)
    assert choice is not None
    assert not choice.fits
    assert "remat fit is full, the least, and even this does not fit by prediction" in choice.explain()


def test_a_policy_that_is_named_is_left_alone() -> None:
    run = make_run(768, 12, 12, 1024, 512, remat="dots")
    assert resolve_run(run, H100) == (run, None)


def test_a_device_whose_memory_nobody_knows_is_refused() -> None:
    with pytest.raises(LoraJaxError, match=r"model\.remat is 'fit' and the memory of 'abacus' is not known"):
        usable_bytes(Target("gpu", "abacus"))
    assert usable_bytes(Target("gpu", "nvidia h100 80gb hbm3", (8,), (9, 0))) == usable_bytes(H100)


def test_identity_keeps_what_the_config_says() -> None:
    """Not what "fit" turned out to be, which differs between machines. A config without it is as it was."""
    run = make_run(64, 2, 2, 16, 4)
    assert "remat" not in to_dict(run)["model"]
    assert to_dict(with_remat(run, "fit"))["model"]["remat"] == "fit"
    assert len({run_id(with_remat(run, name)) for name in ("none", "dots", "full", "fit")}) == 4


@pytest.mark.parametrize("wanted", ["none", "full"])
def test_the_step_is_that_of_the_policy(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_bytes", lambda target: 0.0 if wanted == "full" else 1e15)
    jax.clear_caches()  # a trace is kept by its target, whose memory does not change
    run = make_run(64, 2, 2, 16, 4, vocab_size=64)

    def trace(remat: str) -> str:
        model = with_remat(run, remat).model
        state = jax.eval_shape(lambda: init_pretraining(model, run.optim, 0))
        given = StepInput(jnp.zeros((4, 17), jnp.int32), make_hyperparams(run.optim, 1e-3))
        return str(jax.make_jaxpr(make_pretraining_step(model, run.optim))(state, {}, given))

    other = "none" if wanted == "full" else "full"
    found, alike, unlike = map(trace, ("fit", wanted, other))
    assert found == alike
    assert found != unlike


def test_the_plan_says_which_policy_and_why() -> None:
    planned = plan_runs([make_run(768, 12, 12, 1024, 256, remat="fit")], (), find_device("h100"))
    [item] = planned
    assert item.memory_bytes == pytest.approx(predict_memory(with_remat(item.run, "dots"), H100).peak)
    told = " ".join(format_plan(planned, "x").split())
    assert "d768x12, batch 256 x 1024: remat fit is dots, the cheapest that fits in 60.0 GB" in told
    assert "lane" not in told


def test_the_plan_says_that_lanes_are_not_in_the_choice_where_there_may_be_some() -> None:
    run = make_run(768, 12, 12, 1024, 256, remat="fit")
    planned = plan_runs([run, replace(run, seed=1)], (), find_device("h100"))
    told = " ".join(format_plan(planned, "x").split())
    assert told.count("remat fit is dots") == 1
    assert "This is of one run alone: of several side by side, each lane needs as much." in told
