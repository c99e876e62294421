"""Workers as processes of this machine: all jobs done once, a stop that saves, a death that is told."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_jax.cluster import deaths, local, shares
from lora_jax.cluster.local import run_workers
from lora_jax.cluster.shares import divide_cores, divide_machine, find_gpus, read_gpus
from lora_jax.errors import LoraJaxError

ROOT = Path(__file__).parents[2]


def stand_in(folder: Path, n_jobs: int, seconds: float) -> list[str]:
    return [sys.executable, "-m", "tests.cluster.stand_in", str(folder), str(n_jobs), str(seconds)]


def never() -> bool:
    return False


def done(folder: Path) -> set[str]:
    return {path.name for path in (folder / "done").glob("*")}


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")


def test_workers_do_every_job_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_workers(tmp_path, 3, stand_in(tmp_path, 7, 0.3), never, lambda: "7 jobs")
    assert done(tmp_path) == set("0123456")
    assert len(list((tmp_path / "starts").iterdir())) == 3
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [f"worker-{i}.log" for i in "123"]
    first, second = capfd.readouterr().out.splitlines()
    assert first.startswith("3 workers on this machine, each with ")
    assert second == "7 jobs"


def test_a_stop_saves_the_state_of_all_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = stand_in(tmp_path, 2, 3.0)
    asked = threading.Event()
    timer = threading.Timer(1.5, asked.set)
    timer.start()
    began = time.monotonic()
    run_workers(tmp_path, 2, command, asked.is_set)
    assert time.monotonic() - began < 20
    saved = {path.name: int(path.read_text()) for path in (tmp_path / "states").iterdir()}
    assert set(saved) == set("01")
    assert done(tmp_path) == set()
    run_workers(tmp_path, 2, command, never)
    assert done(tmp_path) == set("01")
    assert all((tmp_path / "done" / job).read_text().endswith(" 30") for job in "01")


def test_a_worker_that_dies_at_once_is_told_with_its_words_and_its_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with pytest.raises(LoraJaxError) as caught:
        run_workers(tmp_path, 2, [sys.executable, "-c", "print('no such thing'); raise SystemExit(1)"], never)
    assert time.monotonic() - began < 10
    assert re.fullmatch(
        r'No worker finished: worker 1 ended with "no such thing" \(status 1\) after \d s, as all others did;'
        rf" its log is {tmp_path}/logs/worker-1.log\.",
        str(caught.value),
    )
    assert capfd.readouterr().out.count("is not started again") == 2


@pytest.mark.slow  # jobs of a second
def test_a_worker_that_is_killed_later_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deaths, "SOON", 0.2)
    monkeypatch.setattr(local, "PAUSE", 0.1)
    killing = threading.Thread(target=kill_one, args=(tmp_path,))
    killing.start()
    run_workers(tmp_path, 2, stand_in(tmp_path, 4, 1.0), never)
    killing.join()
    assert done(tmp_path) == set("0123")
    assert len(list((tmp_path / "starts").iterdir())) == 3
    assert "(status 137)" in capfd.readouterr().out


def kill_one(folder: Path) -> None:
    """Kill a worker that works."""
    pid = wait_for(lambda: next(iter([path.read_text() for path in (folder / "claims").glob("*")]), ""))
    time.sleep(0.5)
    os.kill(int(pid), signal.SIGKILL)


def wait_for(find: Callable[[], str]) -> str:
    end = time.monotonic() + 20
    while not (found := find()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_a_worker_that_dies_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deaths, "SOON", 0.0)
    monkeypatch.setattr(local, "PAUSE", 0.1)
    with pytest.raises(LoraJaxError, match="No worker finished"):
        run_workers(tmp_path, 1, ["false"], never)
    said = capfd.readouterr().out
    assert said.count("it is started again") == deaths.MOST - 1
    assert said.count("for the 3rd time, and is not started again") == 1


def test_a_mistake_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deaths, "SOON", 0.0)
    with pytest.raises(LoraJaxError, match=r"\(status 2\)"):
        run_workers(tmp_path, 1, ["sh", "-c", "echo run >>$0; exit 2", str(tmp_path / "runs")], never)
    assert (tmp_path / "runs").read_text() == "run\n"


def test_each_worker_gets_cores_of_its_own(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    program = (
        "import os, sys\n"
        "print(sorted(os.sched_getaffinity(0)), file=open(f'{sys.argv[1]}/{os.getpid()}', 'w'))"
    )
    cores = tmp_path / "cores"
    cores.mkdir()
    run_workers(tmp_path, len(before), [sys.executable, "-c", program, str(cores)], never)
    assert sorted(path.read_text().strip() for path in cores.iterdir()) == sorted(
        f"[{core}]" for core in before
    )
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("n_cores", [1, 2, 3, 8, 64, 192])
@pytest.mark.parametrize("n_workers", [1, 2, 3, 8])
def test_cores_are_divided_evenly(n_cores: int, n_workers: int) -> None:
    parts = divide_cores(range(n_cores), n_workers)
    assert len(parts) == n_workers
    sizes = [len(part) for part in parts]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert {core for part in parts for core in part} <= set(range(n_cores))
    if n_cores >= n_workers:
        assert sorted(core for part in parts for core in part) == list(range(n_cores))


def test_each_worker_gets_a_gpu_of_those_that_are_visible() -> None:
    found = divide_machine(2, {"CUDA_VISIBLE_DEVICES": "3,5,GPU-1"})
    assert [share.environment({"HOME": "/"}) for share in found] == [
        {"HOME": "/", "CUDA_VISIBLE_DEVICES": "3"},
        {"HOME": "/", "CUDA_VISIBLE_DEVICES": "5"},
    ]


def test_more_workers_than_gpus_are_refused() -> None:
    with pytest.raises(LoraJaxError, match=r"--workers 4 is more than the 2 GPUs here.*ask for at most 2"):
        divide_machine(4, {"CUDA_VISIBLE_DEVICES": "0,1"})
    assert len(divide_machine(4, {"CUDA_VISIBLE_DEVICES": "0,1", "JAX_PLATFORMS": "cpu"})) == 4


@pytest.mark.parametrize(
    ("environment", "gpus"),
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "0, 2"}, ("0", "2")),
        ({"CUDA_VISIBLE_DEVICES": "0", "JAX_PLATFORMS": "cuda,cpu"}, ("0",)),
        ({"CUDA_VISIBLE_DEVICES": "0", "JAX_PLATFORMS": "tpu"}, ()),
    ],
)
def test_gpus_are_those_that_jax_would_use(environment: dict[str, str], gpus: tuple[str, ...]) -> None:
    assert find_gpus(environment) == gpus


LISTING = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-01ab-23)
  MIG 3g.40gb     Device  0: (UUID: MIG-aa-1)
  MIG 3g.40gb     Device  1: (UUID: MIG-aa-2)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-45cd-67)
GPU 2: NVIDIA H100 80GB HBM3 (UUID: GPU-89ef-00)
  MIG 1g.10gb     Device  0: (UUID: MIG-GPU-89ef-00/7/0)
"""


def test_a_gpu_in_parts_is_used_by_its_parts() -> None:
    assert read_gpus(LISTING) == ("MIG-aa-1", "MIG-aa-2", "GPU-45cd-67", "MIG-GPU-89ef-00/7/0")


def test_nvidia_smi_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVML: Driver/library version mismatch'\nexit 18\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(LoraJaxError, match=r"version mismatch.*JAX_PLATFORMS=cpu"):
        shares.find_gpus({})
