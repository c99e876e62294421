"""A minute of the campaign, and that it would notice what it is there for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.products import difference

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_minute_of_the_campaign_finds_nothing() -> None:
    seed = os.environ.get("LORA_JAX_FAULTS_SEED", "14")
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--minutes", "1", "--workers", "1", "--seed", seed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seed {seed}" in done.stdout
    assert re.search(r"[1-9]\d*  attempts", done.stdout)


def test_a_difference_is_found_wherever_it_is() -> None:
    product = {"a": {"x": 1.0, "y": [1.0, 2.0]}, "b": "digest"}
    assert difference(product, product, 0) is None
    assert difference(product, {"a": {"x": 1.0, "y": [1.0, 2.0 + 1e-15]}, "b": "digest"}, 0) is not None
    assert difference(product, {"a": {"x": 1.0, "y": [1.0, 2.0 + 1e-9]}, "b": "digest"}, 1e-6) is None
    assert difference(product, {"a": {"x": 1.0, "y": [1.0]}, "b": "digest"}, 1) is not None
    assert difference(product, {"a": product["a"]}, 1) == ": missing ['b'], more []"
    assert difference(product, product | {"b": "other"}, 1) == "/b: 'digest' became 'other'"


def test_a_standard_error_rounds_as_its_loss_does() -> None:
    run = {"loss": 4.0, "loss_se": 0.03}
    assert difference(run, {"loss": 4.0, "loss_se": 0.03 + 3e-5}, 1e-5) is None
    assert difference(run, {"loss": 4.0, "loss_se": 0.03 + 5e-5}, 1e-5) is not None
    assert difference({"loss_se": 0.03}, {"loss_se": 0.03 + 3e-5}, 1e-5) is not None
    assert difference(run, {"loss": 4.0, "loss_se": 0.03 + 1e-9}, 0) is not None
