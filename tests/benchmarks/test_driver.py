"""experiments/bench.py as a user runs it."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures import Figure, Row, Section

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "bench.py"), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


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
    assert json.loads((tmp_path / "new" / "bench.json").read_text())["format"] == 2


def test_a_ratio_that_is_worse_is_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("bench_driver", ROOT / "experiments" / "bench.py")
    assert spec is not None
    assert spec.loader is not None
    driver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(driver)
    speed = 1.0

    def measure(repeats: int, say: object) -> tuple[Section, ...]:
        figure = Figure("ours / theirs", "ratio", (speed,) * repeats, better="more")
        return (Section("step", "A step", (Row("small", {}, (figure,)),)),)

    monkeypatch.setitem(driver.SECTIONS, "step", (3, measure))
    path = str(tmp_path / "then.json")
    assert driver.main(["--only", "step", "--json", path]) == 0
    assert driver.main(["--only", "step", "--against", path]) == 0
    assert "same" in capsys.readouterr().out
    speed = 0.8
    assert driver.main(["--only", "step", "--against", path, "--json", "-"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["sections"][0]["rows"][0]["figures"][0]["median"] == 0.8
    assert "worse" in captured.err
    assert "1 of 1 ratios are worse than they were" in captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--repeats", "0"), "--repeats is 0"),
        (("--json", "."), "a folder"),
        (("--only", "everything"), "invalid choice"),
        (("--corpus-mb", "10"), "--corpus-mb is of the section tokenising"),
        (("--only", "gpu"), "JAX sees a CPU alone"),
        (("--against", "nowhere.json"), "cannot be read"),
    ],
)
def test_a_mistake_costs_no_time(arguments: tuple[str, ...], said: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
