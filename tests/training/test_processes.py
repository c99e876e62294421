"""Laws of several processes of one computation: who is where, and what a single process does."""

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.training.processes import (
    Place,
    call_in_turn,
    decide,
    find_place,
    gather,
    is_alone,
    is_leader,
    run_together,
    tell,
)

BY_HAND = {"JAX_COORDINATOR_ADDRESS": "host:1234", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
STEP = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}


def test_a_process_is_alone_unless_the_environment_says_more():
    assert find_place({}) is None
    assert find_place(BY_HAND | {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}) is None
    assert find_place({"JAX_COORDINATOR_ADDRESS": "host:1234"}) is None  # JAX's own, for other programs
    assert find_place(STEP) is None, "an allocation without a step of several tasks"


def test_the_place_is_found_by_hand_and_in_a_step_of_slurm():
    assert find_place(BY_HAND) == Place("host:1234", 2, 1)
    step = STEP | {"SLURM_STEP_NUM_TASKS": "2"}
    assert find_place(step | {"SLURM_STEP_NUM_NODES": "2"}) == Place(has_node=True)
    assert find_place(step | {"SLURM_STEP_NUM_NODES": "1"}) == Place(has_node=False)
    assert find_place(step | BY_HAND) == Place("host:1234", 2, 1), "what is said by hand comes first"


@pytest.mark.parametrize(
    "change", [{"JAX_PROCESS_ID": ""}, {"JAX_COORDINATOR_ADDRESS": ""}, {"JAX_PROCESS_ID": "2"}]
)
def test_a_place_that_is_said_in_part_is_refused(change: dict[str, str]):
    with pytest.raises(LoraJaxError, match=r"JAX_PROCESS_ID.*: set "):
        find_place(BY_HAND | change)


def test_one_process_decides_by_itself(monkeypatch: pytest.MonkeyPatch):
    for name in BY_HAND:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    assert is_alone()
    assert is_leader()
    said = object()  # which no store could hold: nothing is sent
    tell(said)
    assert decide(lambda: said) is said
    assert call_in_turn("here", lambda: said) is said
    assert gather("word") == ["word"]
    assert run_together(lambda: 7, lambda: 8) == 7
