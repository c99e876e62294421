"""experiments/scaling.py as a user runs it: a whole sweep, a second call, and interruptions."""

import csv
import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from lora_jax.errors import Damaged
from lora_jax.report.sweep.results import read_results
from lora_jax.runs.experiment import load_experiment
from lora_jax.runs.plan import plan_runs
from lora_jax.runs.store import RunStore
from tests.experiments.place import N_RUNS, Place, check_mistake, check_same, read_records

LARGE = 50_000_000  # letters of a text that takes seconds to read and to tokenise

# ---- a whole sweep, and a second call


def test_a_sweep_leaves_a_whole_results_folder(whole: Path) -> None:
    for name in ("runs.csv", "fits.json", "report.html", "sweep.json"):
        assert (whole / name).stat().st_size > 0
    assert len(list((whole / "runs").iterdir())) == len(list((whole / "curves").iterdir())) == N_RUNS
    figures = {path.suffix for path in (whole / "figures").iterdir()}
    assert figures == {".png", ".svg"}
    with (whole / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == N_RUNS
    assert all(row["status"] == "done" and float(row["heldout_loss"]) < 6 for row in rows)
    fits = json.loads((whole / "fits.json").read_text())
    assert fits["n_runs"] == N_RUNS
    assert fits["heldout_cell"]["run_id"] == max(rows, key=lambda row: float(row["flops_exact"]))["run_id"]
    sweep = json.loads((whole / "sweep.json").read_text())
    assert sweep["name"] == "tiny"
    assert sweep["question"].startswith("Do tiny models scale?")
    assert set(sweep["run_ids"]) == {row["run_id"] for row in rows}
    assert not [path for path in whole.rglob("*.tmp")]


def test_a_trunk_is_shared(whole: Path) -> None:
    runs = load_experiment(whole.parent / "tiny.py").runs
    trained = sum(record.trained_tokens for record in RunStore(whole).finished().values())
    planned = plan_runs(runs, (), None)
    assert trained == sum(item.own_steps * item.run.tokens_per_step for item in planned)
    assert trained < sum(run.n_tokens for run in runs)


@pytest.mark.slow
def test_a_damaged_description_of_the_sweep_is_made_again_when_it_is_deleted(
    place: Place, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(whole, folder, copy_function=shutil.copy2)
    path = folder / "sweep.json"
    path.write_text(path.read_text().replace("tiny", "tinz", 1))
    with pytest.raises(Damaged, match=r"sweep\.json is damaged .*: delete it and run the sweep again"):
        read_results(folder)
    path.unlink()
    code, _, err = place.call(place.config, "--out", folder)
    assert code == 0, err
    assert RunStore(folder).finished().keys() == RunStore(whole).finished().keys()
    assert json.loads(path.read_text()) == json.loads((whole / "sweep.json").read_text()) | {
        name: json.loads(path.read_text())[name] for name in ("command", "digest")
    }


def test_a_second_call_trains_nothing_and_is_back_in_seconds(place: Place, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    started = time.monotonic()  # how often states are saved is no part of a run's identity
    code, out, err = place.call(place.config, "--out", whole, "--save-steps", 7, "--save-at", "0.5,1")
    assert time.monotonic() - started < 10  # 0.2 s on an idle machine
    assert (code, err) == (0, "")
    assert f"All {N_RUNS} runs of tiny are finished" in out
    assert "alpha_N" in out
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


@pytest.mark.slow
def test_a_lost_report_is_made_again_without_training(place: Place, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    (folder / "fits.json").unlink()
    (folder / "runs.csv").unlink()
    code, _, err = place.call(place.config, "--out", folder)
    assert code == 0
    assert err.splitlines() == ["Fitting, and drawing the report."]
    assert (folder / "runs.csv").read_text() == (whole / "runs.csv").read_text()
    before, after = (json.loads((f / "fits.json").read_text()) for f in (whole, folder))
    for document in (before, after):  # what names the folder
        document |= {"source": "", "digest": ""}
        document["fits"] = [fit | {"table": ""} for fit in document["fits"]]
    assert before == after


def test_a_dry_run_prints_every_run_and_trains_nothing(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    # overrides may stand on both sides of the options
    arguments = [
        place.config,
        "seed=5",
        "--out",
        folder,
        "--dry-run",
        "--device",
        "h200",
        "optim.clip_norm=2",
    ]
    code, out, err = place.call(*arguments)
    assert (code, err) == (0, "")
    assert not folder.exists()
    runs = load_experiment(place.config, ["seed=5", "optim.clip_norm=2"]).runs
    planned = plan_runs(runs, (), None)
    for item in planned:
        [line] = [line for line in out.splitlines() if item.run_id in line]
        for cell in (
            f"{item.n_params:,}",
            f"{item.run.n_tokens:,}",
            f"{item.flops:.2e}",
            f"{item.own_steps:,}",
        ):
            assert cell in line.split()
    for word in ("N", "D", "FLOPs", "seconds", "memory", f"{N_RUNS} runs, 0 finished", "to go", "h200"):
        assert word in out


def test_a_dry_run_knows_what_is_finished(place: Place, whole: Path) -> None:
    code, out, _ = place.run(place.config, "--out", whole, "--dry-run", "--device", "h200")
    assert code == 0
    assert f"{N_RUNS} runs, {N_RUNS} finished" in out
    assert "About 0 s to go" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--lanes", "0"), ("--lanes is '0'", "from 1 to", "or auto")),
        (("--lanes", "many"), ("--lanes is 'many'",)),
        (("--halving", "--lanes", "1", "--dry-run", "--device", "h200"), ("--halving", "--lanes is 1")),
        (("--halving", "--dry-run", "--device", "h200"), ("--halving found no two runs", "learning rates")),
    ],
)
def test_lanes_that_cannot_be_are_refused_in_a_line(
    place: Place, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    check_mistake(place.run(place.config, "--out", tmp_path / "out", *arguments), *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_sweep_in_lanes_leaves_the_same_numbers(place: Place, tmp_path: Path) -> None:
    """Two rates of each size: one by one, in two lanes, and halved."""
    config = tmp_path / "lanes.py"
    grown = place.config.read_text().replace("81_920])", "20_480])")
    config.write_text(
        grown.replace("[4, 8, 16]), tokens", '[4, 8, 16]), over("optim.learning_rate", [3e-4, 1e-4]), tokens')
    )
    n_runs = 24
    code, _, err = place.call(config, "--out", tmp_path / "alone", "--lanes", "1")
    assert code == 0, err
    code, _, err = place.call(config, "--out", tmp_path / "beside", "--lanes", "2")
    assert code == 0, err
    assert f"[{n_runs}/{n_runs}]" in err
    alone, beside = (RunStore(tmp_path / name).finished() for name in ("alone", "beside"))
    assert len(alone) == n_runs
    assert {record.lanes for record in beside.values()} == {2}
    for name, record in beside.items():
        assert record.heldout_loss == pytest.approx(alone[name].heldout_loss, rel=1e-5)
    code, _, err = place.call(config, "--out", tmp_path / "halved", "--halving")
    assert code == 0, err
    assert err.count("halted at step 40: others were better; left out of the fits") == 6
    fits = json.loads((tmp_path / "halved" / "fits.json").read_text())
    assert {gone["reason"] for gone in fits["left_out"]} >= {"halted"}


# ---- interruptions


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_to_the_same_records(place: Place, whole: Path) -> None:
    folder = place.folder / "killed"
    assert place.interrupt(folder, 3, signal.SIGKILL)[0] == -signal.SIGKILL
    kept = {path.name: path.read_bytes() for path in folder.glob("runs/*.json")}
    assert 3 <= len(kept) < N_RUNS
    assert not (folder / "report.html").exists()
    code, _, err = place.call(place.config, "--out", folder)
    assert code == 0, err
    assert all((folder / "runs" / name).read_bytes() == text for name, text in kept.items())
    assert f"[{N_RUNS - len(kept)}/{N_RUNS - len(kept)}]" in err
    check_same(folder, whole)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(place: Place, whole: Path, signum: signal.Signals) -> None:
    folder = place.folder / signum.name
    code, _, err = place.interrupt(folder, 3, signum)
    assert code == 128 + signum
    assert "Traceback" not in err
    lines = err.splitlines()
    assert lines.count(f"{signum.name}: saving, then stopping (once more: stop at once)") == 1
    assert lines[-1] == "Stopped. Every finished run is kept; the same command goes on from here."
    kept = read_records(folder)
    assert 3 <= len(kept) < N_RUNS
    assert list(folder.glob("checkpoints/*/*/*")), "its state is saved"
    assert kept.items() <= read_records(whole).items()


@pytest.mark.slow
def test_after_a_signal_it_goes_on_to_the_same_records(place: Place, whole: Path) -> None:
    folder = place.folder / signal.SIGTERM.name
    if not folder.exists():  # where this test runs alone
        place.interrupt(folder, 3, signal.SIGTERM)
    n_kept = len(read_records(folder))
    code, _, err = place.call(place.config, "--out", folder)
    assert code == 0, err
    assert f"[{N_RUNS - n_kept}/{N_RUNS - n_kept}]" in err
    check_same(folder, whole)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_data_is_prepared_ends_it_at_once(
    place: Place, tmp_path: Path, signum: signal.Signals, status: int
) -> None:
    text = tmp_path / "text.txt"
    licence = (place.corpus / "3.txt").read_text()
    text.write_text(licence * (LARGE // len(licence)))
    process = place.start(place.config, f"data.sources=files:{text}", "--out", tmp_path / "out")
    assert process.stdout is not None
    begun = next((line for line in process.stdout if line.startswith("reading")), None)
    assert begun is not None, process.communicate()
    process.send_signal(signum)
    out, err = process.communicate(timeout=20)
    check_mistake((process.returncode, out, err), signum.name, "every finished run is kept", status=status)


@pytest.mark.slow
def test_a_sweep_with_the_tracker_stopped_and_finished(place: Place, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tracked"
    code, _, err = place.interrupt(folder, 3, signal.SIGINT, tracker="wandb")
    assert code == 130, err
    assert "Traceback" not in err
    assert "wandb sync" in err
    code, _, err = place.call(place.config, "--out", folder, tracker="wandb")
    assert code == 0, err
    ids = {path.name.split("-", 3)[3] for path in (folder / "wandb").glob("offline-run-*")}
    assert len(ids) == N_RUNS + 3 + 1  # and the trunk of each size, and the fits
    check_same(folder, whole)
