"""A table that cannot be right: every command that answers from it says so before it answers."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Run = Callable[..., tuple[int, str, str]]
DOUBT = "C / 6ND runs from 0.2 to 5: D or C is counted otherwise"


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven sizes at six budgets, whose D was counted with another batch than the real one."""
    path = tmp_path_factory.mktemp("tables") / "doubtful.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["N", "D", "C", "loss"])
        for i in range(6):
            for j, wrong in enumerate(np.geomspace(0.2, 5, 7)):
                c, n = 1e18 * 4**i, 1e8 * 2 ** (i + j - 3)
                d = c / (6 * n)
                writer.writerow([n, d / wrong, c, 1.8 + 406 * n**-0.34 + 1500 * d**-0.36])
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["fit", "--law", "chinchilla", "--bootstrap", "50"],
        ["fit", "--law", "chinchilla", "--bootstrap", "50", "--flops-column", "flops"],
        ["fit", "--law", "approach-1", "--bootstrap", "100"],
        ["fit", "--law", "approach-2", "--bootstrap", "100"],
        ["compare", "--laws", "chinchilla", "power-c"],
        ["design", "--flops", "1e20"],
        ["design", "--flops", "1e20", "--next"],
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_the_doubt_is_said_and_stands_in_the_json(run: Run, doubtful: Path, command: list[str]) -> None:
    arguments = [command[0], doubtful, *command[1:]]
    status, out, err = run(*arguments)
    assert status == 0, err
    said = " ".join(out.split())
    assert DOUBT in said
    assert "n_params is 'N', n_tokens is 'D', flops is 'C'" in said
    if command[0] != "design":
        assert out.startswith("be careful: " + DOUBT[:40])
    document = json.loads(run(*arguments, "--json")[1])
    assert DOUBT in document.get("certificate", document).get("warnings", document.get("doubts"))


def test_a_sweep_without_a_law_named_warns_in_every_fit(run: Run, doubtful: Path) -> None:
    status, out, err = run("fit", doubtful, "--bootstrap", "50", "--json")
    assert status == 0, err
    for fitted in json.loads(out)["fits"]:
        assert fitted["certificate"]["warnings"][0] == DOUBT


def test_a_budget_out_of_reach_is_in_the_verdict_of_approach_2(run: Run, doubtful: Path) -> None:
    arguments = ["fit", doubtful, "--law", "approach-2", "--bootstrap", "100", "--budget"]
    assert "they cannot tell" not in run(*arguments, "1e22")[1]
    assert "C = 1e+30 is 9.8e+08 times the largest compute" in run(*arguments, "1e30")[1].splitlines()[0]


def test_numbers_of_a_command_are_those_of_a_table(mistake: Callable[..., None]) -> None:
    from lora_jax.commands.table_options import parse_number

    for text, value in (("70B", 7e10), ("70b", 7e10), ("1.4T", 1.4e12), ("1,234,567", 1234567), ("2e9", 2e9)):
        assert parse_number("--budget", text) == value
    mistake(["design", "--flops", "1,234"], "--flops is '1,234'")
