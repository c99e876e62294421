"""Communication by the links' bandwidth, and what FLOPs cost on a target, as `plan` and `design` say it."""

import pytest

from lora_jax.compiling.links import communication_seconds, network_assumption
from lora_jax.compiling.pricing import assume_speed, estimate_speed, largest_step
from lora_jax.compiling.results import Collective, CompiledStep, CompileReport, StepEstimate
from lora_jax.errors import LoraJaxError
from lora_jax.target import parse_target

V5E = parse_target("v5e:2x2")


def make_step(run_id: str, flops: float, computing: float, communication: float) -> CompiledStep:
    estimate = StepEstimate(computing, 0.0, communication, 0.4, ())
    return CompiledStep(run_id, 1, (run_id,), flops, True, None, (), estimate, (), 1.0)


def report_of(*steps: CompiledStep) -> CompileReport:
    return CompileReport("mine", V5E.name, "fsdp=4", "0", steps)


def test_communication_is_all_that_is_received_over_the_links() -> None:
    found = [Collective("all-gather", 3, 6e9, 2e9), Collective("all-reduce", 1, 4e9, 4e9)]
    assert communication_seconds(found, V5E) == pytest.approx(10e9 / 100e9)
    assert communication_seconds(found, parse_target("h100:8")) == pytest.approx(10e9 / 450e9)
    assert communication_seconds([], V5E) == 0


def test_between_machines_the_card_may_be_what_takes_longest() -> None:
    two = parse_target("h100:16")
    near = Collective("all-gather", 1, 9e9, 9e9, 0.5e9)  # 20 ms of NVLink, 10 ms of the card
    far = Collective("all-reduce", 1, 9e9, 9e9, 2e9)  # 20 ms of NVLink, 40 ms of the card
    assert communication_seconds([near, far], two) == pytest.approx(0.060)
    assert communication_seconds([far], parse_target("a100-80gb:16")) == pytest.approx(0.080)


def test_a_price_of_several_machines_says_what_it_assumes_of_their_network() -> None:
    assert network_assumption(parse_target("h100:8")) == network_assumption(parse_target("v5e:16x16")) == ""
    told = network_assumption(parse_target("h100:32"))
    assert "4 machines of 8 GPUs" in told
    assert "assume 400 Gbit/s for each GPU" in told
    assert "200 Gbit/s" in network_assumption(parse_target("a100-80gb:16"))
    report = report_of(make_step("a", 3.6e15, 1.0, 1.0))
    assert "assume 400 Gbit/s" in estimate_speed(report, parse_target("h100:16"), {"a": 1}).basis
    assert "machines" not in estimate_speed(report, parse_target("h100:8"), {"a": 1}).basis
    assumed = assume_speed(parse_target("h100:16"), 0.3).basis
    assert "the communication between 2 machines, which is not counted: --like CONFIG counts it" in assumed
    assert "machines" not in assume_speed(parse_target("h100:8"), 0.3).basis


@pytest.mark.parametrize(
    ("computing", "communication", "bounds"),
    [(3.0, 1.0, (3.0, 4.0)), (1.0, 3.0, (3.0, 4.0)), (2.0, 0.0, (2.0, 2.0))],
)
def test_a_step_takes_the_larger_at_least_and_both_at_most(
    computing: float, communication: float, bounds: tuple[float, float]
) -> None:
    estimate = StepEstimate(computing, 0.0, communication, 0.5, ())
    assert estimate.bounds == bounds
    low, high = estimate.utilisations
    assert (low, high) == pytest.approx((0.5 * computing / bounds[1], 0.5 * computing / bounds[0]))


def test_the_speed_of_runs_weighs_each_step_by_how_often_it_is_taken() -> None:
    report = report_of(make_step("a", 1e12, 1.0, 0.5), make_step("b", 3e12, 2.0, 4.0))
    speed = estimate_speed(report, V5E, {"a": 10, "b": 5})
    assert speed.fastest == pytest.approx(25e12 / (10 * 1.0 + 5 * 4.0))
    assert speed.slowest == pytest.approx(25e12 / (10 * 1.5 + 5 * 6.0))
    alone = estimate_speed(report, V5E, {largest_step(report).run_ids[0]: 1.0})
    assert (alone.slowest, alone.fastest) == pytest.approx((3e12 / 6, 3e12 / 4))


def test_a_price_says_hours_device_hours_and_what_it_rests_on() -> None:
    speed = assume_speed(V5E, 0.25)
    assert speed.slowest == speed.fastest == pytest.approx(197e12)
    told = speed.describe(197e12 * 7200)
    assert "FLOPs take 2 hours on tpu-v5e:2x2 (8 device hours): at 25 % of the peak, which is assumed" in told
    estimated = estimate_speed(report_of(make_step("a", 3.6e15, 1.0, 1.0)), V5E, {"a": 1})
    told = estimated.describe(3.6e18)
    assert "3.60e+18 FLOPs take 0.278 to 0.556 hours on tpu-v5e:2x2 (1.11 to 2.22 device hours)" in told
    assert "an estimate from the compiled program, which is no measurement" in told


def test_a_step_without_an_estimate_has_no_price() -> None:
    step = CompiledStep("d1", 1, ("a",), 1.0, False, None, (), None, (), 1.0)
    with pytest.raises(LoraJaxError, match="the step d1 has no estimate on tpu-v5e:2x2"):
        estimate_speed(report_of(step), V5E, {"a": 1})
