"""Laws of a sweep over several processes of one computation: they are one worker, and all end with one."""

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from lora_jax.errors import ProcessLost
from tests.compilation import with_devices
from tests.experiments.place import Place, check_mistake, check_same, read_records

LIMIT = 600  # seconds: on a busy machine each step waits for the slower process
ENDED_BY_JAX = -signal.SIGABRT  # its heartbeats end a process whose first one is gone
OPTIONS = ("--save-steps", 20)
TOKENS = ("[2560, 5120, 10_240, 81_920]", "[2560, 20_480]")
SIZES = ("[4, 8, 16]", "[8]")


class Computation:
    """Two processes of one sweep."""

    def __init__(self, place: Place, out: Path, *further: object) -> None:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        before = place.env
        self.processes: list[subprocess.Popen[str]] = []
        for number in range(2):
            place.env = before | {
                "JAX_COORDINATOR_ADDRESS": address,
                "JAX_NUM_PROCESSES": "2",
                "JAX_PROCESS_ID": str(number),
            }
            self.processes.append(
                place.start(place.config, *OPTIONS, "--out", out, "--mesh", "data=2", *further)
            )
        place.env = before

    def end(self) -> list[tuple[int, str, str]]:
        """Return the status of each and what it printed."""
        found = []
        for process in self.processes:
            out, err = process.communicate(timeout=LIMIT)
            found.append((process.returncode, out, err))
        return found

    def wait_for(self, out: Path, step: int) -> None:
        """Wait until the trunk has a checkpoint of a step."""
        end = time.monotonic() + LIMIT
        while not any(path.is_dir() for path in out.glob(f"checkpoints/*/trunk/{step}")):
            assert all(process.poll() is None for process in self.processes)
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = Place(tmp_path_factory.mktemp("processes"))
    found.config.write_text(found.config.read_text().replace(*TOKENS).replace(*SIZES))
    return found


@pytest.fixture(scope="module")
def whole(place: Place) -> Path:
    """A sweep that two processes trained undisturbed."""
    out = place.folder / "whole"
    first, second = Computation(place, out).end()
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "Report: " in first[1]
    assert "Report: " not in second[1] + second[2], "one of the processes tells how far they are"
    return out


@pytest.mark.slow
def test_two_processes_are_one_worker(place: Place, whole: Path):
    """One process with both devices gives the same runs; the sums of the two may be rounded otherwise."""
    out, before = place.folder / "alone", place.env
    place.env = before | {"XLA_FLAGS": with_devices(2)["XLA_FLAGS"]}
    status, _, err = place.call(place.config, *OPTIONS, "--out", out, "--mesh", "data=2")
    place.env = before
    assert status == 0, err
    losses, expected = (
        {name: record["heldout_loss"] for name, record in read_records(folder).items()}
        for folder in (whole, out)
    )
    assert losses == pytest.approx(expected, rel=1e-5)
    assert not (whole / "leases").exists(), "as one worker leaves the folder"
    assert not (whole / "workers").exists()


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_process_is_killed_all_end_and_go_on_to_the_same_bits(
    place: Place, whole: Path, victim: int
):
    out = place.folder / f"killed{victim}"
    computation = Computation(place, out)
    computation.wait_for(out, 80)
    computation.processes[victim].kill()
    left = computation.end()[1 - victim]
    if left[0] != ENDED_BY_JAX:  # JAX may be the first to find the other one gone
        check_mistake(left, "start all of them again", status=ProcessLost.status)
    _check_goes_on(place, out, whole)


@pytest.mark.slow
def test_a_signal_to_all_saves_the_state_of_all(place: Place, whole: Path):
    out = place.folder / "stopped"
    computation = Computation(place, out)
    computation.wait_for(out, 40)
    for process in computation.processes:
        process.send_signal(signal.SIGTERM)
    ended = computation.end()
    assert [status for status, _, _ in ended] == [128 + signal.SIGTERM] * 2, ended
    _check_goes_on(place, out, whole)


def _check_goes_on(place: Place, out: Path, whole: Path) -> None:
    """Start a computation again that has ended, and compare it with an undisturbed one."""
    assert len(read_records(out)) < len(read_records(whole))
    again = Computation(place, out).end()
    assert [status for status, _, _ in again] == [0, 0], again
    check_same(out, whole)
