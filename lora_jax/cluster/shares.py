"""A machine's GPUs and CPU cores, divided among workers."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lora_jax.errors import LoraJaxError

SECONDS = 60.0  # how long nvidia-smi may take, which wakes GPUs that sleep
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Share:
    """What one worker gets.

    Attributes:
        gpu: Its GPU, by CUDA's name. None on a machine without GPUs.
        cores: Numbers of its CPU cores.
    """

    gpu: str | None
    cores: tuple[int, ...]

    def environment(self, ours: Mapping[str, str]) -> dict[str, str]:
        """Return the environment for the worker.

        Args:
            ours: The environment of this process.
        """
        return dict(ours) if self.gpu is None else {**ours, VISIBLE: self.gpu}


def divide_machine(n_workers: int, environment: Mapping[str, str]) -> tuple[Share, ...]:
    """Return each worker's share of this machine: a GPU, if there are any, and CPU cores.

    Raises:
        LoraJaxError: There are fewer GPUs than workers, or nvidia-smi fails.
    """
    gpus = find_gpus(environment)
    if gpus and n_workers > len(gpus):
        raise LoraJaxError(
            f"--workers {n_workers} is more than the {len(gpus)} GPUs here, and each worker takes a"
            f" whole one: ask for at most {len(gpus)}, or set JAX_PLATFORMS=cpu."
        )
    cores = divide_cores(own_cores(), n_workers)
    return tuple(Share(gpus[i] if gpus else None, cores[i]) for i in range(n_workers))


def find_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the NVIDIA GPUs that this environment lets a process use, in the form of CUDA_VISIBLE_DEVICES.

    Raises:
        LoraJaxError: nvidia-smi fails or does not answer.
    """
    platforms = environment.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return ()
    if VISIBLE in environment:
        names = tuple(name.strip() for name in environment[VISIBLE].split(",") if name.strip())
        return names[: names.index("-1")] if "-1" in names else names
    if shutil.which("nvidia-smi") is None:
        return ()
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise LoraJaxError(
            f"nvidia-smi has not answered within {SECONDS:.0f} s: name the GPUs by {VISIBLE}, as in"
            f" {VISIBLE}=0,1."
        ) from None
    if done.returncode:
        raise LoraJaxError(
            f"nvidia-smi fails ({' '.join((done.stderr or done.stdout).split())}): mend its driver, or set"
            " JAX_PLATFORMS=cpu."
        )
    return read_gpus(done.stdout)


def read_gpus(listing: str) -> tuple[str, ...]:
    """Return the GPUs that `nvidia-smi -L` lists.

    A GPU that is cut into instances (MIG) gives its instances.
    """
    found: list[str] = []
    for line in listing.splitlines():
        whole = re.match(r"GPU \d+: .*\(UUID: ([\w-]+)\)", line)
        part = re.match(r"\s+MIG .*\(UUID: ([\w/-]+)\)", line)
        if whole:
            found.append(whole[1])
        elif part:
            if found and found[-1].startswith("GPU-"):
                found.pop()
            found.append(part[1])
    return tuple(found)


def own_cores() -> tuple[int, ...]:
    """Return the CPU cores that this process may use.

    It is empty if the system does not tell, as on macOS.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    return tuple(sorted(os.sched_getaffinity(0)))


def divide_cores(cores: Sequence[int], n_workers: int) -> tuple[tuple[int, ...], ...]:
    """Return the cores of each worker. They are neighbours, and each core goes to one worker.

    If there are fewer cores than workers, each worker gets one core that it shares.
    """
    if len(cores) < n_workers:
        return tuple((cores[i % len(cores)],) if cores else () for i in range(n_workers))
    ends = [len(cores) * i // n_workers for i in range(n_workers + 1)]
    return tuple(tuple(cores[start:end]) for start, end in pairwise(ends))
