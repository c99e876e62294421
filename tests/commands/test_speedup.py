"""lora-jax speedup: what it prints, writes and refuses."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from lora_jax import cli


def write_runs(path: Path, floor_of_muon: float = 1.7) -> Path:
    """Write the runs of two optimizers, 16 each. The floor of adamw is 1.7."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["optimizer", "n_params", "n_tokens", "loss"])
        for name, scale, floor in (("adamw", 1.0, 1.7), ("muon", 0.95, floor_of_muon)):
            for n in np.geomspace(1e7, 1e9, 4):
                for d in np.geomspace(1e9, 1e11, 4):
                    loss = floor + scale * (400 * n**-0.34 + 410 * d**-0.28)
                    loss *= np.exp(0.002 * rng.standard_normal())
                    writer.writerow([name, f"{n:.0f}", f"{d:.0f}", f"{loss:.6g}"])
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of the runs of two optimizers with one floor."""
    return write_runs(tmp_path_factory.mktemp("speedup") / "runs.csv")


def test_a_column_names_the_recipes(pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["speedup", str(pair), "--by", "optimizer", "--bootstrap", "100", "--out", str(tmp_path / "o")]
    assert cli.main(asked) == 0
    printed = capsys.readouterr().out
    assert "Speed-up over adamw" in printed
    assert "muon in compute at equal loss" in printed
    document = json.loads((tmp_path / "o" / "speedup.json").read_text())
    assert document["kind"] == "speedup"
    assert document["command"].startswith("lora-jax speedup ")
    assert (tmp_path / "o" / "figures" / "speedup.svg").exists()
    assert "speed-up" in (tmp_path / "o" / "report.html").read_text()


def test_report_draws_the_page_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its JSON file holds all that the page says, speed-ups without limit too."""
    runs, out = write_runs(tmp_path / "runs.csv", floor_of_muon=1.2), tmp_path / "o"
    assert cli.main(["speedup", str(runs), "--by", "optimizer", "--bootstrap", "100", "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "and up" in page
    assert "no run" in page
    files = sorted(file for file in out.rglob("*") if file.is_file())
    before = {file: file.read_bytes() for file in files}
    assert "and up" in (out / "report.html").read_text(), "an end is infinite, or this test shows little"
    for file in files:
        if file.name != "speedup.json":
            file.unlink()
    capsys.readouterr()
    assert cli.main(["report", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "report.html")
    assert {file: file.read_bytes() for file in files} == before


def test_two_tables_are_compared_as_json(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["speedup", str(pair), str(pair), "--where", "optimizer=muon", "--json", "--bootstrap", "100"]
    assert cli.main([*asked, "--shared", "E"]) == 0
    document = json.loads(capsys.readouterr().out)
    [recipe] = document["recipes"]
    assert {point["of"] for point in recipe["points"]} == {"C", "D"}
    assert all(abs(point["speedup"]["value"] - 1) < 1e-3 for point in recipe["points"]), "it is one recipe"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "give a table of each recipe"),
        (["--by", "optimizer", "--baseline", "muno"], "muon"),
        (["--by", "optimizer", "--curves", "--law", "chinchilla"], "--curves fits none"),
        (["--by", "optimizer", "--noise", "0.1"], "add --curves"),
        (["--by", "optimizer", "--of", "D"], "--each"),
        (["--by", "colour"], "no column 'colour'"),
        (["--by", "optimizer", "--fix", "E=3"], "pin it below"),
        (["--by", "optimizer", "--where", "optimizer=muon"], "nothing to compare it with"),
        (["--by", "optimizer", "--curves"], "column of steps"),
        (
            ["--by", "optimizer", "--each", "N", "--where", "n_tokens<5e9"],
            "nothing is left to tell the noise",
        ),
    ],
)
def test_a_mistake_is_a_sentence(
    pair: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["speedup", str(pair), *more]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


PUBLISHED = Path(__file__).parents[2] / "results" / "published" / "optimizers_cpu"


@pytest.mark.committed
@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("optimizer", ["adamw", "muon", "lion"]),
        ("seed", ["the runs come from 3 recipes (adamw; lion; muon)"]),
    ],
)
def test_a_results_folder_is_divided_by_its_records(
    by: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What still differs within a part is said: the seeds of three optimizers are no three recipes."""
    assert cli.main(["speedup", str(PUBLISHED), "--by", by, "--bootstrap", "100"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in words)
    assert ("the runs come from" in said) is (by == "seed")
