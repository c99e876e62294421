"""Settings that every test needs before the libraries are imported."""

import gc
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from tests.compilation import compile_in_a_hurry
from tests.time_limit import pytest_runtest_call, pytest_runtest_setup

__all__ = ["pytest_runtest_call", "pytest_runtest_setup"]  # pytest finds hooks by their names here

# Other processes may hold a machine up for longer than any deadline.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")
# Most of a test's time is compilation, and many tests compile the same small programs. What one process has
# compiled the others read, and so does the next run of the suite. A program's key holds the compiler's flags.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "jax")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# The same for Python's own bytecode: the tests start many processes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# The tests compare with float32 on a CPU; a GPU's tensor cores round differently.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# No test may reach for a network or write into somebody's account.
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ["HF_HUB_OFFLINE"] = "1"
# One width of output however the tests are started: pytest-xdist's workers would else have a terminal's 80.
os.environ["COLUMNS"] = "150"

HASTY = ("not slow and not parity", "slow")  # what -m selects in the runs of which a program runs a few times

# The files that take longest begin first: a long one at the end would leave the other processes idle. Those
# of SLURM wait most of their time, beside others that compute, and not two of them at once.
LONGEST = (
    "cluster/test_submit.py",
    "test_readme.py",
    "peft/test_lanes.py",
    "training/test_cpu_memory.py",
    "cluster/test_several_nodes.py",
    "faults/test_inputs.py",
    "experiments/test_scaling.py",
    "cluster/test_sweep.py",
    "faults/test_campaign.py",
    "workers/test_sweep.py",
    "experiments/test_processes.py",
    "commands/test_coordinates.py",
    "finetuning/test_execute.py",
    "scaling/speedups/test_coverage.py",
    "scaling/intervals/test_coverage.py",
    "training/test_mesh.py",
    "examples/test_notebooks.py",
)

# Each process makes the fixtures that it needs. Those of these folders are a sweep of 20 s.
TOGETHER = ("tests/experiments/",)


class Scheduling(LoadFileScheduling):
    """Deals a file at a time to the processes, and a folder of `TOGETHER` whole to one of them."""

    def _split_scope(self, nodeid: str) -> str:
        return next(
            (folder for folder in TOGETHER if nodeid.startswith(folder)), super()._split_scope(nodeid)
        )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Return the scheduling above for --dist loadfile."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)  # of those that -m leaves
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, then those of many tests; within a file nothing moves."""
    folder = Path(__file__).parent
    ranks = {folder / name: rank for rank, name in enumerate(LONGEST)}
    n_tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (ranks.get(item.path, len(ranks)), -n_tests[item.path]))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave tests/parity unread in the default run, which has none of it: it imports torch."""
    is_parity = collection_path == Path(__file__).parent / "parity"
    return True if is_parity and config.option.markexpr == HASTY[0] else None


def pytest_configure(config: pytest.Config) -> None:
    """Compile in a hurry in the default run and with -m slow, and else as for use."""
    if config.option.markexpr in HASTY:
        compile_in_a_hurry(os.environ)


@pytest.hookimpl(trylast=True)  # when the file's fixtures are gone
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Hide what is left of a file from the garbage collector.

    JAX keeps a file's programs, millions of objects in the end, and each collection would visit them all.
    """
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder of published run tables, which the repository does not hold: without it, a skip."""
    fallback = Path(__file__).resolve().parents[2] / "shared" / "data" / "published"
    folder = Path(os.environ.get("LORA_JAX_PUBLISHED", fallback))
    if not (folder / "chinchilla.csv").exists():
        pytest.skip("published run tables not found: set LORA_JAX_PUBLISHED to their folder")
    return folder
