"""Some inputs of the campaign are asked; LORA_JAX_FAULTS_SEED and _EXAMPLES choose others, and how many."""

import os
from pathlib import Path

import pytest

from tests.faults.good_folders import make_places, write_task
from tests.faults.inputs import QUICK, ask_inputs

SEED = int(os.environ.get("LORA_JAX_FAULTS_SEED", "15"))
EXAMPLES = int(os.environ.get("LORA_JAX_FAULTS_EXAMPLES", "1000"))


def test_a_few_inputs_are_answered(tmp_path: Path) -> None:
    tally = ask_inputs(SEED, 30, tmp_path / "now", {"task": write_task(tmp_path)}, kinds=QUICK)
    assert not tally.findings, "\n".join(tally.findings)


@pytest.mark.slow
def test_every_input_is_answered(tmp_path: Path) -> None:
    tally = ask_inputs(SEED, EXAMPLES, tmp_path / "now", make_places(tmp_path))
    print(f"seed {SEED}: {dict(tally.counts)}")
    assert not tally.findings, f"{len(tally.findings)} with seed {SEED}:\n" + "\n".join(tally.findings)
