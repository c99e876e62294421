"""`lj.fit`, `lj.compare`, `lj.design`: what a notebook gets is what the commands print."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import lora_jax as lj
from lora_jax.cli import main

N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
LOSS = (1.69 + 406.4 * N**-0.34 + 410.7 * D**-0.28) * np.exp(
    np.random.default_rng(0).normal(0, 0.003, N.size)
)
FEW = 100  # replicates


@pytest.fixture(scope="module")
def fitted():
    return lj.fit("chinchilla", n_params=N, n_tokens=D, loss=LOSS, n_bootstrap=FEW)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    rows = [f"{n!r},{d!r},{loss!r}" for n, d, loss in zip(N.tolist(), D.tolist(), LOSS.tolist(), strict=True)]
    path.write_text("\n".join(["n_params,n_tokens,loss", *rows]))
    return path


def test_arrays_and_their_file_give_the_same_fit(fitted, file: Path) -> None:
    other = lj.fit("chinchilla", file, n_bootstrap=FEW)
    assert {k: (p.value, p.ci95) for k, p in other.params.items()} == {
        k: (p.value, p.ci95) for k, p in fitted.params.items()
    }
    assert lj.fit("chinchilla", lj.read_table(file), n_bootstrap=FEW).verdict == other.verdict


def test_the_command_gives_the_same_numbers(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--predict", "N=1e10,D=1e12", "--budget", "1e23"]
    assert main(["fit", str(file), "--law", "chinchilla", "--bootstrap", "100", "--json", *asked]) == 0
    theirs, ours = json.loads(capsys.readouterr().out), lj.fit("chinchilla", file, n_bootstrap=FEW)
    assert {k: p["value"] for k, p in theirs["params"].items()} == {
        k: p.value for k, p in ours.params.items()
    }
    rows = {(row["quantity"], *row["at"]): row for row in theirs["predictions"]}
    for key, own in (
        (("loss", "N", "D"), ours.predict(N=1e10, D=1e12)),
        (("N*", "C"), ours.optimum(1e23).n_params),
    ):
        assert (own.value, list(own.ci95 or ())) == (rows[key]["value"], rows[key]["ci95"])


def test_an_optimum_prints_its_four_numbers_with_their_intervals(fitted) -> None:
    best = fitted.optimum(1e23)
    assert str(best) == f"N* = {best[0]}, D* = {best[1]}, D/N = {best[2]}, loss = {best[3]}"


def test_a_prediction_goes_by_letters_and_by_columns(fitted) -> None:
    assert fitted.predict(N=1e10, D=1e12) == fitted.predict(n_params=1e10, n_tokens=1e12)
    curve = fitted.curve(N=np.array([[1e9], [1e10]]), D=[1e11, 1e12])
    assert curve.value.shape == curve.low.shape == curve.high.shape == (2, 2)
    assert curve.value[1, 1] == fitted.predict(N=1e10, D=1e12).value
    assert (curve.low < curve.value).all()
    assert (curve.value < curve.high).all()


@pytest.mark.parametrize(
    "ask",
    [
        lambda f: f.curve(),
        lambda f: f.predict(N=[1e9, 2e9], D=1e9),
        lambda f: f.predict(N=1e9),
        lambda f: f.predict(N=1e9, D=1e9, X=1),
        lambda f: f.predict(N=-1, D=1e9),
        lambda f: lj.fit("chinchila", n_params=N, n_tokens=D, loss=LOSS),
        lambda f: lj.fit("chinchilla"),
        lambda f: lj.fit("chinchilla", "no/such.csv"),
        lambda f: lj.fit("chinchilla", n_params=N, loss=LOSS),
        lambda f: lj.fit("chinchilla", n_params=N, n_tokens=D, loss=-LOSS),
        lambda f: lj.fit("chinchilla", n_params=N[:3], n_tokens=D, loss=LOSS),
        lambda f: lj.design(-1.0),
        lambda f: lj.design(1e20, prior="nobody"),
        lambda f: f.optimum(0),
        lambda f: lj.compare("published:nothing"),
    ],
)
def test_mistakes_are_a_sentence(ask, fitted) -> None:
    with pytest.raises(lj.LoraJaxError, match=r"\.$"):
        ask(fitted)


def test_it_shows_itself(fitted, tmp_path: Path) -> None:
    html = fitted._repr_html_()
    assert str(fitted.verdict.level).capitalize() in html
    for name in fitted.params:
        assert f"<td>{name}</td>" in html
    assert len(html) < 20_000  # a notebook keeps it
    assert fitted.plot().axes
    page = fitted.save(tmp_path / "out")
    assert page.is_file()
    assert (tmp_path / "out" / "fit.json").is_file()
    assert re.fullmatch(r"FittedLaw\(L\(N,D\): .*\)", repr(fitted))
    assert str(fitted.params["E"]).count(" to ") == 1


def test_laws_are_compared(fitted) -> None:
    found = lj.compare(fitted.table, ["chinchilla", "power-c"])
    assert found.rows[0].name == "chinchilla"
    assert "<table>" in found._repr_html_()
    assert found.plot().axes
    assert found.words in repr(found)


def test_a_budget_becomes_runs(fitted) -> None:
    found = lj.design(1e20, target={"N": 1e10, "D": 1e12}, max_runs=20)
    assert 17 <= len(found.runs) <= 20
    assert sum(run.flops for run in found.runs) <= 1e20 * (1 + 1e-6)
    assert "<table>" in found._repr_html_()
    later = lj.design(1e20, fitted.table, max_runs=20)
    assert later.report.n_existing == N.size
