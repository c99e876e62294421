"""PyTorch's settings for a fair comparison: as many threads as JAX has cores, the same dtype, one device."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from lora_jax.errors import LoraJaxError


def set_up(settings: dict[str, Any]) -> torch.device:
    """Take the cores that JAX takes, and return the device: the accelerator where JAX has one."""
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if settings["platform"] == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise LoraJaxError(
            f"JAX runs on {settings['platform']} and this PyTorch ({torch.__version__}) has no CUDA: install"
            " one that has it, or leave the section out by --only."
        )
    torch.backends.cuda.matmul.allow_tf32 = True
    return torch.device("cuda")


def cast(device: torch.device) -> AbstractContextManager[Any]:
    """Compute in the dtype that JAX's side computes in: float32 on a CPU, bfloat16 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu")


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_bytes(device: torch.device) -> Callable[[], int] | None:
    """Return what reads the device's peak memory; None on a CPU, where it is the process's."""
    return torch.cuda.max_memory_allocated if device.type == "cuda" else None


def describe() -> dict[str, Any]:
    return {"version": torch.__version__, "threads": torch.get_num_threads()}
