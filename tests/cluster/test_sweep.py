"""A sweep by real workers on a real SLURM: preempted three times, the same bits as by one process."""

import subprocess
import sys
from pathlib import Path

import pytest

from lora_jax.cluster.deaths import read_deaths
from lora_jax.cluster.submit import read_submissions
from tests.cluster.slurm import Slurm
from tests.cluster.test_submit import ROOT, preempt, wait_until_all
from tests.experiments.place import DRIVER, Place, check_same, read_records

N_WORKERS = 8


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A sweep of a trunk of two runs for each worker."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    place = Place(tmp_path)
    text = place.config.read_text()
    for old, new in (
        ('over("model.d_model", [4, 8, 16])', f'over("seed", list(range({N_WORKERS})))'),
        ("[2560, 5120, 10_240, 81_920]", "[10_240, 163_840]"),
    ):
        assert old in text
        text = text.replace(old, new)
    place.config.write_text(text)
    return place


def count_rows(folder: Path) -> int:
    """How many rows have the runs in training told?"""
    return sum(path.read_text().count("\n") for path in folder.glob("live/*.jsonl"))


@pytest.mark.slow
def test_workers_preempted_three_times_give_the_bits_of_one(slurm: Slurm, place: Place) -> None:
    one, many = place.folder / "one", place.folder / "many"
    asked = [place.config, "--lanes", 1, "--save-seconds", 2]
    assert place.call(*asked, "--out", one)[0] == 0
    code, out, err = place.call(
        *asked, "--out", many, "--workers", N_WORKERS, "--slurm", "partition=graceful,hours=1"
    )
    assert code == 0, err
    [submission] = read_submissions(many)
    assert out.splitlines()[0] == submission.sentence
    for _ in range(3):
        before = count_rows(many)
        slurm.wait_until(lambda before=before: count_rows(many) > before + 25, "they train")
        assert len(list(many.glob("runs/*.json"))) < 2 * N_WORKERS, "preempted before the end"
        preempt(slurm, 1)
    wait_until_all(slurm, submission, "COMPLETED")
    assert read_deaths(many) == ()
    check_same(many, one)
    assert (many / "report.html").exists()
    logs = [path.read_text() for path in many.glob("slurm/*_log.out")]
    assert sum(log.count("Caught signal SIGUSR2") > 0 for log in logs) == N_WORKERS
    assert sum(log.count("Report: ") for log in logs) == 1, "who wrote it shows it"
    others = sum(log.count("Another worker wrote") + log.count("finished and reported") for log in logs)
    assert others == N_WORKERS - 1


@pytest.mark.slow
def test_two_tasks_of_a_step_are_one_worker_on_a_mesh(slurm: Slurm, place: Place) -> None:
    """srun starts them, and JAX finds in SLURM's environment who is who."""
    folder = place.folder / "mesh"
    done = subprocess.run(
        [
            "srun",
            "--partition=graceful",
            "--ntasks=2",
            "--cpus-per-task=1",
            "--kill-on-bad-exit=1",
            sys.executable,
            str(DRIVER),
            str(place.config),
            "model.d_model=4",
            "n_tokens=2560",
            "seed=0",
            "--mesh",
            "data=2",
            "--tracker",
            "off",
            "--out",
            str(folder),
        ],
        cwd=place.folder,
        env=place.env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Report:") == 1, "the first one alone prints"
    [record] = read_records(folder).values()
    assert record["status"] == "done"
