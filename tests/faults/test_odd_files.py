"""What is no file, no document of ours, or no program: a sentence each, and status 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.answers import Answer, ask
from tests.report.conftest import write_folder

ROOT = Path(__file__).parents[2]


def check_refused(answer: Answer, words: str) -> None:
    assert (answer.status, answer.fault) == (2, None), (answer.err, answer.trace)
    assert words in answer.err


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    check_refused(ask(["fit", str(tmp_path / "t.csv")]), "is a folder, a pipe or a device")
    assert ask(["fit", str(tmp_path / "t.csv")]).seconds < 5


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '[{"loss": ' + "[" * 600 + "]" * 600 + "}]", '[{"n": ' + "9" * 5000 + "}]"]
)
def test_json_that_python_cannot_hold_is_no_table(name: str, text: str, tmp_path: Path) -> None:
    text = text.strip("[]") if name == "t.jsonl" and text.startswith("[{") else text
    (tmp_path / name).write_text(text)
    check_refused(ask(["fit", str(tmp_path / name)]), "lora-jax: ")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import sys\nsys.exit(0)", "calls exit(0)"),
        ("raise SystemExit", "calls exit(None)"),
        ("class Odd(BaseException): pass\nraise Odd('x')", "Odd: x"),
        ("def runs(): return (1 / 0 for _ in [1])", "ZeroDivisionError"),
        ("def runs():\n    while True: yield 1", "more than 100,000 runs"),
        ("__doc__ = 7\ndef runs(): return []", "returned no run"),
    ],
)
def test_a_config_that_does_not_return_runs(body: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "c.py").write_text(body)
    check_refused(ask(["plan", str(tmp_path / "c.py")]), words)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("r") / "results")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fits.json", "sweep.json", "record"])
@pytest.mark.parametrize(
    "content", ["{}", '{"data": 7}', "[]", "null", "[" * 100_000, '{"a":' + "9" * 5000 + "}", None]
)
def test_a_document_of_ours_of_another_shape(name: str, content: str | None, results: Path) -> None:
    """In place, and put back: the folder takes seconds to make. None: a dangling link."""
    path = sorted((results / "runs").glob("*.json"))[0] if name == "record" else results / name
    before = path.read_bytes()
    try:
        path.unlink()
        path.symlink_to("nowhere") if content is None else path.write_text(content)
        check_refused(ask(["report", str(results)]), path.name)
    finally:
        path.unlink()
        path.write_bytes(before)


@pytest.mark.slow
@pytest.mark.parametrize("field", ["status", "n_tokens", "config", "heldout_loss", "learning_rate"])
def test_a_record_without_a_digest_may_hold_anything(field: str, results: Path) -> None:
    path = sorted((results / "runs").glob("*.json"))[0]
    before = path.read_bytes()
    record = {k: v for k, v in json.loads(before).items() if k != "digest"}
    try:
        path.write_text(json.dumps(record | {field: "dnoe"}))
        answer = ask(["report", str(results)])
        assert answer.fault is None
    finally:
        path.write_bytes(before)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_output_of_any_encoding(encoding: str, tmp_path: Path) -> None:
    rows = "".join(f"r\u00e9\u6a21{i},{1e7 * 2**i},{3 - 0.1 * i}\n" for i in range(8))
    (tmp_path / "t.csv").write_text("run_id,n_params,loss\n" + rows, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "lora_jax.cli", "fit", str(tmp_path / "t.csv"), "--law", "power-n"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        env=os.environ | {"PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    done.stdout.decode(encoding)
