"""Settings that every test needs before the libraries are imported."""

import os
from pathlib import Path

import pytest

# Most of a test's time is compilation, and many tests compile the same small programs. What one process has
# compiled the others read, and so does the next run of the suite. A program's key holds the compiler's flags.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "jax")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
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


def pytest_configure(config: pytest.Config) -> None:
    """Compile without most optimisations in the default run and with -m slow.

    Compilation then takes half the time. Sums are rounded differently, and no formula is different. The runs
    with -m bits, committed and parity compile as for use.
    """
    if config.option.markexpr in HASTY:
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder of published run tables, which the repository does not hold: without it, a skip."""
    fallback = Path(__file__).resolve().parents[2] / "shared" / "data" / "published"
    folder = Path(os.environ.get("LORA_JAX_PUBLISHED", fallback))
    if not (folder / "chinchilla.csv").exists():
        pytest.skip("published run tables not found: set LORA_JAX_PUBLISHED to their folder")
    return folder
