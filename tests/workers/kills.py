"""Workers that are killed at random moments and replaced, until their sweep is finished.

    python -m tests.workers.kills FOLDER --workers 8 --kills 200

It prints each kill, and compares the results with those of one worker that nobody disturbed.
"""

import argparse
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.experiments.place import Place, check_same

WORK = ["-m", "lora_jax.cli", "work"]


@dataclass(frozen=True)
class Report:
    """What the killing came to. finished: lines by which workers told that a run was trained to its end."""

    n_kills: int
    seconds: float
    finished: list[str]


def start_worker(place: Place, folder: Path, number: int) -> subprocess.Popen[bytes]:
    with (folder / f"worker-{number}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *WORK, str(folder)], cwd=place.folder, env=place.env, stdout=log, stderr=log
        )


def kill_at_random(
    place: Place, folder: Path, n_workers: int, n_kills: int, rng: random.Random, pause: float
) -> Report:
    """Keep n_workers at work on a prepared folder; kill one of them n_kills times; then let them finish.

    pause: Mean seconds between two kills.
    """
    began, started, killed = time.monotonic(), 0, 0
    workers: list[subprocess.Popen[bytes]] = []
    due = time.monotonic() + rng.expovariate(1 / pause)
    while True:
        for worker in [worker for worker in workers if worker.poll() is not None]:
            workers.remove(worker)
            if worker.returncode == 0:  # every run is finished
                for other in workers:
                    assert other.wait(timeout=600) == 0
                logs = sorted(folder.glob("worker-*.log"))
                lines = [line for log in logs for line in log.read_text().splitlines()]
                ended = [line for line in lines if line.startswith("[") and "held-out" in line]
                return Report(killed, time.monotonic() - began, ended)
            assert worker.returncode == -signal.SIGKILL, worker.args
        while len(workers) < n_workers:
            workers.append(start_worker(place, folder, started))
            started += 1
        if killed < n_kills and time.monotonic() > due:
            rng.choice(workers).kill()
            killed += 1
            n_runs = len(list(folder.glob("runs/*.json")))
            print(f"{time.monotonic() - began:.0f} s: kill {killed} of {n_kills}, {n_runs} runs", flush=True)
            due = time.monotonic() + rng.expovariate(1 / pause)
        time.sleep(0.02)


def call(place: Place, *words: object) -> None:
    """Run a command to its end, however long that takes."""
    process = place.start(*words)
    _, err = process.communicate()
    assert process.returncode == 0, err


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pause", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--seeds", type=int, default=1, help="of the sweep's runs: 12 runs for each")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    place = Place(asked.folder)
    runs = place.config.read_text()
    assert runs.count("[4, 8, 16]), tokens") == 1
    place.config.write_text(
        runs.replace("[4, 8, 16]), tokens", f'[4, 8, 16]), over("seed", range({asked.seeds})), tokens')
    )
    whole, killed = asked.folder / "whole", asked.folder / "killed"
    words, began = [place.config, "--lanes", "1"], time.monotonic()
    print(f"One worker trains {12 * asked.seeds} runs undisturbed.", flush=True)
    call(place, *words, "--out", whole)
    print(
        f"It took {time.monotonic() - began:.0f} s. Now {asked.workers} workers do, and are killed.",
        flush=True,
    )
    call(place, *words, "--out", killed, "--workers", 0)
    report = kill_at_random(place, killed, asked.workers, asked.kills, random.Random(asked.seed), asked.pause)
    check_same(killed, whole)
    n_runs = len(list(whole.glob("runs/*.json")))
    print(
        f"{report.n_kills} kills of {asked.workers} workers in {report.seconds:.0f} s: {n_runs} runs, the"
        f" same records and curves as one worker's; {len(report.finished)} told that they ended one"
    )


if __name__ == "__main__":
    main()
