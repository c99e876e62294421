"""The command run in this process, and tables of somebody's own."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lora_jax.cli import main

Run = Callable[..., tuple[int, str, str]]
Mistake = Callable[..., None]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `lora-jax ARGUMENTS` and gives its status, output and errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        status = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def mistake(run: Run) -> Mistake:
    """Return a function that expects one line on standard error with these words, and status 2."""

    def check(arguments: list[object], *words: str) -> None:
        status, out, err = run(*arguments)
        assert (status, out) == (2, ""), err
        assert len(err.splitlines()) == 1, err
        for word in words:
            assert word in err

    return check


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 48 runs of a known law (E 1.5, alpha .3, beta .25) with 0.2 % noise, its columns foreign."""
    path = tmp_path_factory.mktemp("tables") / "theirs.csv"
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "Model Size", "Tokens", "final loss", "bpb", "split"])
        for i, n in enumerate(np.geomspace(1e5, 1e7, 8)):
            for j, d in enumerate(np.geomspace(1e6, 3e8, 6)):
                loss = (1.5 + 40 * n**-0.3 + 60 * d**-0.25) * np.exp(0.002 * rng.standard_normal())
                writer.writerow([f"run-{i}-{j}", n, d, loss, loss / 2, "train" if i < 7 else "eval"])
    return path


MAP = ["--map", "n_params=Model Size", "n_tokens=Tokens", "loss=final loss"]
