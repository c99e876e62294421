"""The tracker writes what it is given, and is never a reason for a sweep to stop."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.runs import wandb_store
from lora_jax.runs.record import RunRecord
from lora_jax.runs.tracking import open_tracker

RECORD = RunRecord(
    run_id="d16x2-t8192-s0-0123456789",
    sweep="tiny",
    status="done",
    config={"model": {"d_model": 16}},
    data={"tokenizer": "bytes"},
    seed=0,
    n_params=6144,
    n_params_with_head=10_240,
    n_params_total=12_288,
    n_tokens=8192,
    unique_tokens=8192,
    epochs=0.5,
    flops=5e8,
    flops_exact=6e8,
    train_loss=2.5,
    heldout_loss=2.625,
    heldout_loss_se=0.01,
    bits_per_byte=3.787,
    cooled=True,
    learning_rate=0.02,
    n_steps=4,
    diverged_at=None,
    wall_seconds=1.0,
    trained_tokens=8192,
    tokens_per_second=8192.0,
    device="cpu",
    versions={"jax": "0"},
    git_commit=None,
    created_at="2025-01-01T00:00:00+00:00",
)
CURVE = [
    {"step": s, "n_tokens": 2048 * s, "flops": 1e8 * s, "loss": 4.0 / s, "learning_rate": 0.01}
    for s in (1, 2, 4)
]
ALPHA = {"value": 0.31, "se": 0.01, "ci95": [0.29, 0.33]}
AT_BOUND = {"value": 0.0, "se": None, "ci95": None}
UNDEFINED = {"value": None, "se": None, "ci95": None}
FITS = {
    "source": "runs.csv",
    "n_runs": 1,
    "n_fitted": 1,
    "n_column": "n_params",
    "flops_column": "flops_exact",
    "fits": [
        {
            "key": "L(N)",
            "params": {"alpha": ALPHA},
            "certificate": {"verdict": "good"},
            "n": 1,
            "runs": [{"run_id": "r", "N": 9.0, "measured": 2.0, "fitted": 2.5}],
        }
    ],
    "exponents": {"alpha_N": ALPHA | {"fit": "L(N)"}, "alpha_D": AT_BOUND | {"fit": "L(D)"}},
    "frontier": {"rows": [{"flops": 1e9, "n_params": ALPHA, "n_tokens": UNDEFINED, "loss": ALPHA}]},
    "heldout_cell": {"measured": 2.6, "predictions": [ALPHA | {"key": "L(N,D)", "relative_error": 0.01}]},
    "warnings": ["few runs"],
}


@pytest.fixture(autouse=True)
def no_wandb_settings(monkeypatch, tmp_path):
    """No setting and no login of the person who runs the tests reaches them."""
    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))


def stored_runs(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*/*.wandb"))


def read_store(path: Path) -> dict[str, list[Any]]:
    """Return the records of a .wandb file by kind."""
    found: dict[str, list[Any]] = {}
    for record in wandb_store.read_store(path):
        name = record.WhichOneof("record_type")
        found.setdefault(name, []).append(getattr(record, name))
    return found


def wait_for_store(path: Path) -> dict[str, list[Any]]:
    """Return the records of a .wandb file once its last one is there.

    A run's finish() comes back when wandb's own process has taken its records in; that process writes the
    file a moment later, until when the file holds a header and nothing else.
    """
    end = time.monotonic() + 30
    while "exit" not in (store := read_store(path)):
        assert time.monotonic() < end, store.keys()
        time.sleep(0.05)
    return store


def in_fresh_process(code: str, env: dict[str, str], folder: Path) -> str:
    """Run code that has RECORD, CURVE and FOLDER; wandb keeps its environment for the life of a process."""
    head = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\n"
        "import lora_jax.runs.tracking as t\n"
        "from test_tracker import RECORD, CURVE, FITS\nFOLDER = Path(sys.argv[2])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", head + code, str(Path(__file__).parent), str(folder)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_an_offline_run_can_be_found_and_read_back(tmp_path, capfd):
    tracker = open_tracker("wandb", "tiny", tmp_path)
    tracker.log_run(RECORD, CURVE)
    assert capfd.readouterr() == ("", "")  # wandb's chatter would break a progress display
    [path] = stored_runs(tmp_path)
    store = wait_for_store(path)
    [run] = store["run"][:1]
    assert (run.display_name, run.run_group, run.job_type) == (RECORD.run_id, "tiny", "train")
    assert run.run_id.startswith(RECORD.run_id)  # and then what tells this folder's from another's
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["model"] == {"d_model": 16}

    def row(history):
        return {i.key or i.nested_key[0]: json.loads(i.value_json) for i in history.item}

    rows = [row(history) for history in store["history"]]
    assert [r["_step"] for r in rows] == [1, 2, 4]
    assert [(r["n_tokens"], r["loss"], r["learning_rate"]) for r in rows] == [
        (r["n_tokens"], r["loss"], r["learning_rate"]) for r in CURVE
    ]
    summary = {
        (i.key or i.nested_key[0]): json.loads(i.value_json) for s in store["summary"] for i in s.update
    }
    assert summary["heldout_loss"] == RECORD.heldout_loss
    assert "diverged_at" not in summary  # missing is missing, not a number
    tracker.finish()
    assert "wandb sync" in capfd.readouterr().err


def test_fits_are_kept_as_tables_and_pictures(tmp_path):
    from matplotlib.figure import Figure

    picture = tmp_path / "loss.png"
    Figure(figsize=(1, 1)).savefig(picture)
    # wandb leaves the temporary folders of tables to the garbage collector, whose warning about it would be
    # an error in whichever test comes later: hence a process of its own.
    code = "x = t.open_tracker('wandb', 'tiny', FOLDER)\n"
    code += "x.log_fits(FITS, [FOLDER / 'loss.png', FOLDER / 'loss.svg'])\n"
    code += "print('MODE', x.mode, x.notes)"
    assert "MODE offline []" in in_fresh_process(code, {}, tmp_path)
    [path] = stored_runs(tmp_path)
    kept = {p.name.split("_")[0] for p in (path.parent / "files/media").rglob("*") if p.is_file()}
    assert {"exponents", "params", "frontier", "heldout", "warnings", "loss"} <= kept
    [table] = (path.parent / "files/media").rglob("exponents_*.table.json")
    assert json.loads(table.read_text())["data"] == [
        ["alpha_N", "L(N)", 0.31, 0.29, 0.33],
        ["alpha_D", "L(D)", 0.0, None, None],
    ]


def test_a_run_costs_little_offline(tmp_path):
    tracker = open_tracker("wandb", "tiny", tmp_path)
    tracker.log_run(RECORD, CURVE)  # starts wandb's process
    start = time.perf_counter()
    tracker.log_run(RECORD, CURVE * 20)
    assert time.perf_counter() - start < 4.0  # 0.1 s on an idle machine; the bound is for a busy one


def test_off_makes_nothing_and_imports_nothing(tmp_path):
    code = """
import os
for mode, variable in (("off", "online"), ("wandb", "disabled")):
    os.environ["WANDB_MODE"] = variable
    x = t.open_tracker(mode, "tiny", FOLDER)
    x.log_run(RECORD, CURVE)
    x.log_fits(FITS, [])
    x.finish()
assert "wandb" not in sys.modules
"""
    assert in_fresh_process(code, {}, tmp_path) == ""
    assert not (tmp_path / "wandb").exists()


def test_wandb_missing_is_one_note(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    notes: list[str] = []
    tracker = open_tracker("wandb", "tiny", tmp_path, notes.append)
    for _ in range(3):
        tracker.log_run(RECORD, CURVE)
    tracker.log_fits(FITS, [])
    tracker.finish()
    assert len(notes) == 1
    assert "off" in notes[0]
    assert "\n" not in notes[0]


def test_no_login_goes_offline_and_never_asks(tmp_path):
    """On a terminal wandb asks for a key and waits; with a terminal attached this has to come back."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\n"
        "import lora_jax.runs.tracking as t\n"
        "from test_tracker import RECORD, CURVE\nx = t.open_tracker('wandb', 'tiny', Path(sys.argv[2]))\n"
        "x.log_run(RECORD, CURVE); print('MODE', x.mode, len(x.notes), 'DONE')"
    )
    terminal, other_side = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)],
        env=os.environ | {"WANDB_MODE": "online"},
        stdin=other_side,
        stdout=other_side,
        stderr=other_side,
        start_new_session=True,
    )
    os.close(other_side)
    output, end = b"", time.monotonic() + 30
    while b"DONE" not in output and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            try:
                output += os.read(terminal, 4096)
            except OSError:  # Linux says so when the other side has gone
                break
    if b"DONE" not in output:
        child.kill()
    child.wait()
    os.close(terminal)
    assert b"MODE offline 1" in output, output.decode()
    assert b"choice" not in output
    assert len(stored_runs(tmp_path)) == 1


@pytest.mark.slow  # waits for a server
def test_an_unreachable_server_costs_seconds_and_loses_nothing(tmp_path):
    env = {
        "WANDB_MODE": "online",
        "WANDB_API_KEY": "0" * 40,
        "WANDB_BASE_URL": "http://127.0.0.1:9",
    }
    code = "import lora_jax.runs.wandb_run as w\nw.CONNECT_SECONDS = 2\n"
    code += "x = t.open_tracker('wandb', 'tiny', FOLDER)\n"
    code += "x.log_run(RECORD, CURVE); x.log_run(RECORD, CURVE)\nprint('MODE', x.mode, len(x.notes))"
    start = time.monotonic()
    output = in_fresh_process(code, env, tmp_path)
    assert "MODE offline 1" in output
    assert time.monotonic() - start < 15
    assert len(stored_runs(tmp_path)) >= 1


def test_a_setting_that_wandb_refuses_is_one_note(tmp_path):
    code = "x = t.open_tracker('wandb', 'tiny', FOLDER); x.log_run(RECORD, CURVE)\n"
    code += "print('MODE', x.mode, len(x.notes))"
    assert "MODE off 1" in in_fresh_process(code, {"WANDB_BASE_URL": "not a url"}, tmp_path)


def test_the_death_of_wandbs_process_is_one_note(tmp_path):
    code = """
import os, signal, time
x = t.open_tracker('wandb', 'tiny', FOLDER); x.log_run(RECORD, CURVE)
children = Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()
for child in children:
    os.kill(int(child), signal.SIGKILL)
time.sleep(0.3)
x.log_run(RECORD, CURVE); x.log_run(RECORD, CURVE); x.finish(); print('MODE', x.mode, len(children), x.notes)
"""
    output = in_fresh_process(code, {}, tmp_path)
    assert "MODE off" in output
    assert output.count("tracking is off") == 2  # said once, and shown in notes


def test_a_folder_that_cannot_be_written_is_one_note(tmp_path):
    (tmp_path / "wandb").write_text("a file where a folder must be")
    notes: list[str] = []
    tracker = open_tracker("wandb", "tiny", tmp_path, notes.append)
    tracker.log_run(RECORD, CURVE)
    assert tracker.mode == "off"
    assert len(notes) == 1


def test_an_unknown_mode_is_refused_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "onlin")
    with pytest.raises(LoraJaxError, match="'online'"):
        open_tracker("wandb", "tiny", tmp_path)


def test_a_comparison_is_kept_as_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracker = open_tracker("wandb", "tiny", tmp_path)
    facts = {"metric": "accuracy", "reference": "full"}
    tracker.log_comparison(facts, ["method", "trainable", "value"], [["full", 9, 0.8]], [])
    tracker.finish()
    assert tracker.mode == "offline", tracker.notes
    [table] = tmp_path.rglob("files/media/table/methods*.json")
    assert json.loads(table.read_text())["data"] == [["full", 9, 0.8]]
