"""`lora-jax fit --law power`, options that have no part, and numbers that no float holds."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.commands.conftest import MAP, Mistake, Run

FEW = ["--bootstrap", "200"]


@pytest.fixture
def optima(tmp_path: Path) -> Path:
    """Optima of 10 budgets without a loss: N* = .09 C^.5, D* = C / (6 N*), within 3 %."""
    rng = np.random.default_rng(0)
    rows = [
        f"{c},{n},{c / 6 / n}"
        for c in np.geomspace(1e17, 1e21, 10)
        for n in [0.09 * c**0.5 * np.exp(0.03 * rng.standard_normal())]
    ]
    (tmp_path / "optima.csv").write_text("\n".join(["flops,n_opt,d_opt", *rows]) + "\n")
    return tmp_path / "optima.csv"


def test_a_table_of_optima_gives_n_star_and_d_star_with_intervals(run: Run, optima: Path) -> None:
    for response, exponent in (("n_opt", 0.5), ("d_opt", 0.5)):
        asked = [
            "--law",
            "power",
            "--response",
            response,
            "--of",
            "flops",
            "--predict",
            "flops=1e22",
            "C=1e22",
        ]
        found = json.loads(run("fit", optima, *asked, "--json", *FEW)[1])
        low, high = found["params"]["a"]["ci95"]
        assert low < exponent < high
        assert high - low < 0.03
        one, _, other, _ = found["predictions"]
        assert one == other
        assert one["at"] == {"C": 1e22}
    out = run("fit", optima, "--law", "power", "--response", "n_opt", "--of", "C", *FEW)[1]
    assert out.startswith("believe it: a = ")
    assert "loss" not in out


def test_a_rising_response_of_a_falling_law_is_named(run: Run, tmp_path: Path) -> None:
    """The loss as 1 / loss: X_c is nothing that a float could hold, and no stack trace."""
    rows = "\n".join(f"{c},{c**0.2}" for c in np.geomspace(1e18, 1e22, 9))
    (tmp_path / "up.csv").write_text(f"flops,loss\n{rows}\n")
    status, out, err = run("fit", tmp_path / "up.csv", "--law", "power-c", *FEW, "--out", tmp_path / "new")
    assert (status, err) == (0, "")
    assert out.startswith(
        "be careful: loss rises with C, about as C^0.2, and L = (C_c / C)^alpha_C can only fall"
    )
    assert "inf" not in out
    json.loads((tmp_path / "new" / "fit.json").read_text(), parse_constant=pytest.fail)
    asked = ["--law", "power", "--response", "loss", "--of", "C"]
    found = json.loads(run("fit", tmp_path / "up.csv", *asked, "--json", *FEW)[1])
    assert found["params"]["a"]["value"] == pytest.approx(0.2)


def test_options_that_have_no_part_are_refused_by_name(mistake: Mistake, theirs: Path, optima: Path) -> None:
    mistake(["fit", theirs, *MAP, "--objective", "l1"], "--objective needs one law")
    mistake(["fit", theirs, *MAP, "--delta", "0.1"], "--delta needs one law")
    mistake(
        ["fit", theirs, *MAP, "--law", "chinchilla", "--response", "loss"],
        "--response belongs to --law power",
    )
    mistake(
        ["fit", theirs, *MAP, "--law", "chinchilla", "--method", "akima"],
        "--method is an option of approach 2",
    )
    mistake(
        ["fit", theirs, *MAP, "--law", "approach-2", "--fix", "E=1"], "--fix does not apply to approach-2"
    )
    mistake(
        ["fit", theirs, *MAP, "--law", "approach-1", "--compare"], "--compare does not apply to approach-1"
    )
    mistake(["fit", optima, "--law", "power", "--of", "flops"], "lacks --response")
    mistake(["fit", optima, "--law", "power", "--response", "n_opt"], "lacks --of")
    mistake(["fit", optima, "--law", "power", "--response", "nopt", "--of", "C"], "nearest: 'n_opt'")
    mistake(
        ["fit", optima, "--law", "power", "--response", "n_opt", "--of", "C", "--budget", "1e20"], "--predict"
    )
    mistake(["fit", optima, "--law", "power-c"], "no column 'loss'")
