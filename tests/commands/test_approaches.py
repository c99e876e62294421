"""`lora-jax fit --law approach-1` and `approach-2`."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.commands.conftest import Mistake, Run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def budgets(tmp_path: Path) -> Path:
    """Five budgets of nine sizes from Hoffmann's law, whose a is .452."""
    rows = ["n_params,n_tokens,flops,loss"]
    for flops in np.geomspace(1e18, 1e20, 5):
        best = 0.5 * (flops / 6) ** 0.452
        for n in best * np.geomspace(0.3, 3, 9):
            d = flops / 6 / n
            rows.append(f"{n},{d},{flops},{1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28}")
    path = tmp_path / "isoflop.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_approach_two_finds_the_exponent(run: Run, budgets: Path, tmp_path: Path) -> None:
    arguments = ["fit", budgets, "--law", "approach-2", "--bootstrap", "200", "--budget", "1e21"]
    found = json.loads(run(*arguments, "--json", "--out", tmp_path / "out")[1])
    assert found["exponents"]["a"]["value"] == pytest.approx(0.28 / (0.34 + 0.28), abs=0.02)
    assert found["predictions"][0]["flops"] == 1e21
    names = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert {"isoflop.png", "optima.svg"} <= names
    assert "IsoFLOP curves" in (tmp_path / "out" / "report.html").read_text()
    assert run(*arguments)[1].splitlines()[0].split(":")[0] in ("believe it", "be careful")


def test_approach_one_reads_the_curves_of_a_results_folder(run: Run, tmp_path: Path) -> None:
    folder = ROOT / "results" / "published" / "scaling_cpu"
    out = run("fit", folder, "--law", "approach-1", "--bootstrap", "100", "--out", tmp_path)[1]
    assert out.startswith("be careful: ")
    assert (tmp_path / "figures" / "envelope.png").exists()


def test_mistakes_are_one_sentence(mistake: Mistake, budgets: Path) -> None:
    mistake(["fit", budgets, "--law", "approach-2", "--method", "akma"], "nearest: 'akima'")
    mistake(["fit", budgets, "--law", "approach-2", "--where", "flops<5e18"], "Approach 2 needs 3 budgets")
