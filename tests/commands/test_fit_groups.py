"""`lora-jax fit --by`: a row a group as single calls give it, or the reason for none; own constants."""

import json
from pathlib import Path

import numpy as np
import pytest

from lora_jax.commands import waiting
from tests.commands.conftest import MAP, Mistake, Run

FEW = ["--bootstrap", "200"]
POWER = ["--law", "power", "--response", "lr", "--of", "N"]


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    """Best rates of two optimizers, k N^-.3 and k N^-.6, within 2 %, one row of a third, a failed fourth."""
    rng = np.random.default_rng(0)
    rows = ["optimizer,note,n_params,lr,status"]
    for name, power in (("adam", -0.3), ("sgd, heavy", -0.6)):
        for n in np.geomspace(1e6, 1e9, 8):
            rows.append(f'"{name}",x,{n},{5 * n**power * np.exp(0.02 * rng.standard_normal())},finished')
    rows += ["lion,x,1e7,1e-3,finished", "shampoo,x,1e7,1e-3,crashed"]
    (tmp_path / "rates.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "rates.csv"


def test_every_group_is_fitted_as_by_a_call_of_its_own(run: Run, rates: Path) -> None:
    status, out, err = run("fit", rates, "--by", "optimizer", *POWER, "--json", *FEW)
    assert (status, err) == (0, "")
    found = json.loads(out, parse_constant=pytest.fail)
    assert [entry["group"]["optimizer"] for entry in found] == ["adam", "sgd, heavy", "lion", "shampoo"]
    for entry, power in zip(found, (-0.3, -0.6), strict=False):
        alone = run(
            "fit", rates, "--where", f"optimizer={entry['group']['optimizer']}", *POWER, "--json", *FEW
        )
        assert json.loads(alone[1])["params"] == entry["params"]
        assert entry["params"]["a"]["value"] == pytest.approx(power, abs=0.02)
    assert "N = 1e+07 in every row" in found[2]["not_fitted"]
    assert "crashed" in found[3]["not_fitted"]


def test_the_table_has_a_row_a_group_and_the_reasons(run: Run, rates: Path, tmp_path: Path) -> None:
    out = run("fit", rates, "--by", "optimizer", "note", *POWER, "--out", tmp_path / "all", *FEW)[1]
    assert out.startswith("4 groups: 2 believe it, 2 refused.")
    for words in ("sgd, heavy", "optimizer = lion, note = x:", "optimizer = shampoo, note = x:"):
        assert words in out
    overview = json.loads((tmp_path / "all" / "groups.json").read_text(), parse_constant=pytest.fail)
    assert [entry.get("folder") for entry in overview["groups"]] == ["adam_x", "sgd--heavy_x", None, None]
    for folder in ("adam_x", "sgd--heavy_x"):
        assert (tmp_path / "all" / folder / "fit.json").exists()
        assert (tmp_path / "all" / folder / "report.html").exists()
    page = (tmp_path / "all" / "report.html").read_text()
    assert "sgd, heavy" in page
    warned = page.partition('<ul class="warnings">')[2].partition("</ul>")[0]
    assert [words in warned for words in ("adam", "lion, note = x: ", "shampoo, note = x: ")] == [0, 1, 1]


def test_approaches_take_groups_too(run: Run, published: Path) -> None:
    """Two of the published configurations in one call, their exponents as published."""
    configurations = json.loads((published / "porian_published_fits.json").read_text())
    keys = ("dataset", "hparams", "warmup", "decay", "param_count", "val")
    asked = [
        "--map",
        "n_params=n",
        "n_tokens=t",
        "--where",
        "hparams=tuned",
        "warmup=short",
        "--bootstrap",
        "100",
    ]
    out = run(
        "fit",
        published / "porian_isoflop.csv",
        *asked,
        "--by",
        *keys,
        "--law",
        "approach-2",
        "--method",
        "akima",
        "--json",
    )[1]
    found = json.loads(out, parse_constant=pytest.fail)
    assert len(found) >= 3
    for entry in found:
        (one,) = [c for c in configurations if {k: c[k] for k in keys} == entry["group"]]
        assert entry["exponents"]["a"]["value"] == pytest.approx(one["a_published"], abs=0.0075)


def test_constants_of_ones_own(run: Run, mistake: Mistake, theirs: Path) -> None:
    fit = ["fit", theirs, *MAP, "--law", "chinchilla", *FEW]
    asked = ["--versus", "E=1.69,A=406.4,B=410.7,alpha=.34,beta=.28", "hoffmann"]
    own, hoffmann = json.loads(run(*fit, *asked, "--json")[1])["differences"]
    assert own["name"] == "given (1)"
    assert own["words"].startswith("The fit differs from the constants given")
    for key in ("p", "objective_ratio", "params"):
        assert own[key] == hoffmann[key]
    found = json.loads(run(*fit, "--json")[1])["params"]
    itself = ",".join(f"{name}={row['value']!r}" for name, row in found.items())
    (same,) = json.loads(run(*fit, "--versus", itself, "--json")[1])["differences"]
    assert same["p"] == 1
    mistake([*fit, "--versus", "E=1.5,A=40"], "lacks alpha, B, beta")
    mistake([*fit, "--versus", "E=1.5,A=40,alpha=.3,B=60,betta=.25"], "nearest: 'beta'")
    mistake([*fit, "--versus", "E=1.5,A=-40,alpha=.3,B=60,beta=.25"], "A is -40")


def test_by_has_no_part_without_a_law(mistake: Mistake, theirs: Path, rates: Path) -> None:
    mistake(["fit", theirs, *MAP, "--by", "split"], "--by needs one law")
    mistake(["fit", rates, "--by", "optimiser", *POWER], "nearest: 'optimizer'")
    mistake(
        ["fit", theirs, *MAP, "--by", "split", "--law", "chinchilla", "--crossover", "x.csv"], "--crossover"
    )
    few = ["--where", "optimizer=lion"]
    mistake(["fit", rates, *few, "--by", "optimizer", *POWER], "No group", "optimizer = lion", "in every row")


def test_the_progress_shown_is_that_of_the_groups(
    run: Run, rates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps of a group's own fit are not told of beside it."""
    heard = []
    monkeypatch.setattr(waiting._Wait, "take", lambda _, *step: heard.append(step))
    run("fit", rates, "--by", "optimizer", *POWER, "--json", *FEW)
    assert heard == [("fitting 4 groups", n, 4) for n in range(5)]
