"""experiments/latency.py as a user runs it."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DRIVER = ROOT / "experiments" / "latency.py"


@pytest.fixture(scope="module")
def driver() -> ModuleType:
    spec = importlib.util.spec_from_file_location("latency_driver", DRIVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--trials", "5"), "--trials is 5, but it must be a whole number from 6"),
        (("--divide", "3"), "--divide is 3, but it must be one of 1, 2, 4, 8"),
        (("--seed", "-1"), "--seed is -1"),
        (("--out", "taken"), "a file, but it must be a folder"),
        (("--out", "taken/inside"), "cannot be made"),
        (("--out", "sweep"), "shows a sweep"),
    ],
)
def test_a_mistake_is_a_sentence_before_anything_is_timed(
    driver: ModuleType,
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    Path("sweep").mkdir()
    Path("sweep", "sweep.json").write_text("{}")
    assert driver.main(["--out", "out", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.slow  # compiles twelve programs
def test_a_folder_and_a_document_come_of_one_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DRIVER), "--trials", "6", "--divide", "8", "--out", str(tmp_path), "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "latency.json").read_text())
    assert [size["label"] for size in document["sizes"]] == ["32 x 64", "16 x 32", "1 x 16"]
    assert all(len(v["seconds"]) == 6 for size in document["sizes"] for v in size["variants"])
    assert (document["seed"], document["n_trials"], document["divisor"]) == (0, 6, 8)
    assert (tmp_path / "report.html").exists()
    assert "trial 6 of 6" in done.stderr
