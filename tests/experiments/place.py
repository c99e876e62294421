"""A folder in which a test runs experiments/scaling.py as a user does, in processes of its own."""

import contextlib
import io
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

from experiments import scaling
from lora_jax.runs.store import RunStore
from tests.licence import write_licence

ROOT = Path(__file__).parents[2]
N_RUNS = 12
CONFIG = '''"""Do tiny models scale?

command:         ./launch.sh scaling tiny.py
expected time:   seconds
expected answer: they do
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig, SourceConfig
from lora_jax.runs.sweep import expand, over, product

BASE = RunConfig(
    model=ModelConfig(d_model=4, n_layers=1, n_heads=1, vocab_size=256, context=32, **LLAMA),
    data=DataConfig(
        sources=(SourceConfig(name="files:CORPUS/*.txt"),), seq_len=32, heldout_fraction=0.2, max_epochs=100.0
    ),
    optim=OptimConfig(batch_size=4, warmup_steps=4),
    n_tokens=81_920,
)


def runs() -> list[RunConfig]:
    tokens = over("n_tokens", [2560, 5120, 10_240, 81_920])
    return expand(BASE, product(over("model.d_model", [4, 8, 16]), tokens))
'''
SAME = (  # what an interruption may not change
    "run_id",
    "status",
    "config",
    "data",
    "n_params",
    "n_tokens",
    "flops",
    "flops_exact",
    "train_loss",
    "heldout_loss",
    "heldout_loss_se",
    "bits_per_byte",
    "n_steps",
    "diverged_at",
    "learning_rate",
)


DRIVER = ROOT / "experiments" / "scaling.py"


class Place:
    """A folder with a config file, its corpus and a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corpus = write_licence(folder / "corpus", 10, 20)
        self.config = folder / "tiny.py"
        self.config.write_text(CONFIG.replace("CORPUS", str(self.corpus)))
        self.env = {name: value for name, value in os.environ.items() if name != "WANDB_MODE"} | {
            "LORA_JAX_CACHE": str(folder / "cache"),
            "JAX_PLATFORMS": "cpu",
            "MPLBACKEND": "Agg",
            # the sweeps here are mostly compilation, of the same programs again and again
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }

    def start(self, *arguments: object, tracker: str = "off") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(DRIVER), *map(str, arguments), "--tracker", tracker],
            cwd=self.folder,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def call(self, *arguments: object, tracker: str = "off") -> tuple[int, str, str]:
        process = self.start(*arguments, tracker=tracker)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err

    def run(self, *arguments: object) -> tuple[int, str, str]:
        """Return what `call` does, from this process: a process takes a second before it says anything."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.env),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = scaling.main([*map(str, arguments), "--tracker", "off"])
        return code, out.getvalue(), err.getvalue()

    def interrupt(
        self, folder: Path, n_finished: int, signum: int, tracker: str = "off"
    ) -> tuple[int, str, str]:
        """Start the sweep and send it a signal as soon as so many runs are finished."""
        process = self.start(self.config, "--out", folder, tracker=tracker)
        end = time.monotonic() + 120
        while len(list(folder.glob("runs/*.json"))) < n_finished:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.002)
        process.send_signal(signum)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err


def read_records(folder: Path) -> dict[str, dict[str, object]]:
    records = RunStore(folder).finished()
    return {name: {field: getattr(record, field) for field in SAME} for name, record in records.items()}


def check_same(folder: Path, whole: Path) -> None:
    assert read_records(folder) == read_records(whole)
    for name in read_records(whole):
        curve = Path("curves") / f"{name}.csv"
        assert (folder / curve).read_text() == (whole / curve).read_text()


def check_mistake(got: tuple[int, str, str], *words: str, status: int = 2) -> str:
    """Check a non-zero status and one clear line that holds the words; return it."""
    code, _, err = got
    lines = [line for line in err.splitlines() if line.startswith("lora-jax: ")]
    assert code == status, err
    assert len(lines) == 1, err
    assert err.splitlines()[-1] == lines[0], "the line is not the last"
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0]
    return lines[0]
