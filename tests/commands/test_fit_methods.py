"""lora-jax fit --law finetuning-* --by method --crossover, from a file to a page."""

import csv
import json
from pathlib import Path

import pytest

from lora_jax.cli import main
from lora_jax.scaling.finetuning.documents import read_finetuning
from tests.scaling.finetuning.simulated import F, N, make_runs


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A file of two methods, in somebody's own names."""
    table = make_runs(0, ("full", "lora"), 1e-4, 1)
    path = tmp_path / "runs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["who", "n_params", "set_tokens", "test_loss", "optimizer_bytes"])
        for i, name in enumerate(table.labels["method"]):
            n, f = table["n_params"][i], table["finetune_tokens"][i]
            writer.writerow([name, n, f, table["loss"][i], 8 * n])
    return path


FEW = ["--law", "finetuning-n", "--by", "who", "--map", "finetune_tokens=set_tokens", "--bootstrap", "100"]


def test_the_page_and_the_document_are_written(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = runs.parent / "answer"
    assert main(["fit", str(runs), *FEW, "--crossover", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "full and lora cross at F" in said
    report = read_finetuning(out)
    assert [m.name for m in report.methods] == ["full", "lora"]
    assert len(report.methods[0].cells) == len(N) * len(F)
    costs = report.needs[0].costs["bytes of the optimizer"]
    assert costs.value == pytest.approx(8 * (report.needs[0].x.value or 0), rel=1e-6)
    assert "cross at F" in (out / "report.html").read_text()
    assert {p.name for p in (out / "figures").glob("*.svg")} == {"laws.svg", "crossovers.svg"}


def test_json_is_the_report(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(runs), *FEW, "--crossover", "full", "lora", "--target", "2.5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "finetuning laws"
    assert document["crossovers"][0]["first"] == "full"
    assert [need["loss"] for need in document["needs"]] == [2.5, 2.5]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--law", "chinchilla", "--by", "who", "--crossover"], "is not one"),
        (["--law", "finetuning-n", "--crossover"], "wants a second table"),
        ([*FEW, "--crossover", "--fix", "E=1"], "--fix does not apply"),
        ([*FEW, "--target", "2"], "--target needs methods"),
        ([*FEW, "--crossover", "full", "lorra"], "nearest: 'lora'"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    runs: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(runs), *arguments]) != 0
    assert words in capsys.readouterr().err
