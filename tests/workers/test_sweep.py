"""A sweep by several workers, as its users run it: killed at random, told of mistakes, watched."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from lora_jax.digests import read_object, to_sealed_json
from tests.experiments.place import N_RUNS, Place, check_mistake
from tests.workers.kills import WORK, kill_at_random


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


def prepare(place: Place, name: str, *words: object) -> Path:
    """Make a results folder ready for workers."""
    folder = place.folder / name
    code, out, err = place.call(place.config, *words, "--out", folder, "--workers", 0)
    assert code == 0, err
    assert f"lora-jax work {folder}" in out
    return folder


def work(place: Place, folder: Path, *words: object) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *WORK, str(folder), *map(str, words)],
        cwd=place.folder.parent,
        env=place.env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_killed_workers_lose_nothing_and_train_nothing_twice(place: Place) -> None:
    from tests.experiments.place import check_same

    whole, killed = place.folder / "whole", prepare(place, "killed", "--lanes", 1)
    assert place.call(place.config, "--lanes", 1, "--out", whole)[0] == 0
    report = kill_at_random(place, killed, 3, 12, random.Random(0), pause=1.5)
    assert report.n_kills > 3
    check_same(killed, whole)
    assert len(report.finished) <= N_RUNS, "each run was trained to its end once"
    for left in ("leases", "live/state.json.tmp"):
        assert not (killed / left).exists()
    assert {path.name for path in whole.iterdir()} <= {path.name for path in killed.iterdir()}


@pytest.mark.slow
def test_a_worker_finds_its_work_in_the_folder_alone(place: Place) -> None:
    folder = prepare(place, "alone", "n_tokens=2560", "--lanes", 1)
    code, out, err = work(place, folder)
    assert code == 0, err
    assert f"Report: {folder / 'report.html'}" in out
    assert "./launch.sh scaling" in read_object(folder / "sweep.json", "")["command"]
    [log] = (folder / "workers").glob("*.log")
    assert "[1/3]" in log.read_text()
    assert out.splitlines()[-1] in log.read_text()
    code, out, err = work(place, folder)
    assert code == 0, err
    assert out.splitlines()[-1].startswith("All 3 runs of tiny are finished and reported in")
    assert "Report:" not in out, "a worker that comes late finds nothing to do, and does not repeat it"


def test_a_folder_without_a_task_is_a_sentence(place: Place, tmp_path: Path) -> None:
    check_mistake(work(place, tmp_path), "work.json", "--workers 0")
    check_mistake(work(place, tmp_path / "none"), "work.json", "--workers 0")


def test_a_task_of_another_machine_is_a_sentence(place: Place) -> None:
    folder = prepare(place, "far")
    document = read_object(folder / "work.json", "")
    (folder / "work.json").write_text(to_sealed_json(document | {"folder": "/not/here"}))
    check_mistake(work(place, folder), "/not/here", "mount it")
    (folder / "work.json").write_text(to_sealed_json(document | {"command": "dance"}))
    check_mistake(work(place, folder), "'dance'", "it must be one of scaling")
    (folder / "work.json").write_text("{}")
    check_mistake(work(place, folder), "work.json")


def test_slurm_wants_a_number_of_workers(place: Place, tmp_path: Path) -> None:
    got = place.call(place.config, "--out", tmp_path / "o", "--slurm", "partition=gpu")
    check_mistake(got, "--slurm needs the number of workers", "--workers N")


@pytest.mark.slow
def test_a_config_that_changed_is_refused_beside_a_worker_of_the_old_one(place: Place) -> None:
    folder = prepare(place, "changed", "n_tokens=81920", "--lanes", 1)
    first = subprocess.Popen(
        [sys.executable, *WORK, str(folder)],
        cwd=place.folder,
        env=place.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        while not list(folder.glob("runs/*.json")):
            assert first.poll() is None
        got = place.call(place.config, "seed=1", "n_tokens=81920", "--out", folder, "--lanes", 1)
        check_mistake(got, "finished runs of another config")
        document = read_object(folder / "work.json", "")
        words = [*document["words"], "--keep-models"]
        (folder / "work.json").write_text(to_sealed_json(document | {"words": words}))
        check_mistake(work(place, folder), "another config or options")
    finally:
        first.kill()
        first.communicate()
