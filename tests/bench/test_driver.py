"""experiments/bench.py as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "bench.py"), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_json_on_standard_output_and_progress_beside_it() -> None:
    done = bench("--only", "startup", "--repeats", "2", "--json", "-")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [section["name"] for section in document["sections"]] == ["startup"]
    (figure,) = (f for f in document["sections"][0]["rows"][0]["figures"] if f["name"] == "wall time")
    assert (figure["at_most"], len(figure["samples"])) == (1.0, 2)
    assert document["versions"]["jax"]
    assert "startup: 2 rounds" in done.stderr


def test_a_plain_table_where_there_is_no_terminal(tmp_path: Path) -> None:
    done = bench("--only", "startup", "--repeats", "1", "--json", str(tmp_path / "new" / "bench.json"))
    assert done.returncode == 0, done.stderr
    assert "lora-jax --help" in done.stdout
    assert "\x1b" not in done.stdout
    assert json.loads((tmp_path / "new" / "bench.json").read_text())["format"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--repeats", "0"), "--repeats is 0"),
        (("--json", "."), "a folder"),
        (("--only", "everything"), "invalid choice"),
    ],
)
def test_a_mistake_costs_no_time(arguments: tuple[str, ...], said: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
