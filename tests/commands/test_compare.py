"""`lora-jax compare`: a ranking, the words first."""

import json
from pathlib import Path

from tests.commands.conftest import MAP, Mistake, Run


def test_laws_are_ranked(run: Run, theirs: Path, tmp_path: Path) -> None:
    names = ["chinchilla", "kaplan", "power-c"]
    arguments = ["compare", theirs, *MAP, "--laws", *names, "--objective", "squared"]
    found = json.loads(run(*arguments, "--json", "--out", tmp_path)[1])
    assert found["rows"][0]["name"] == "chinchilla"
    assert {row["name"] for row in found["rows"]} == set(names)
    assert (tmp_path / "figures" / "ranking.png").exists()
    assert found["words"][:20] in (tmp_path / "report.html").read_text()
    out = run(*arguments)[1]
    assert out.startswith(found["words"][:20])


def test_laws_that_a_table_cannot_carry_are_a_table_and_no_warning(
    run: Run, theirs: Path, tmp_path: Path
) -> None:
    asked = ["compare", theirs, *MAP, "--laws", "chinchilla", "kaplan", "finetuning-n", "--json"]
    status, out, err = run(*asked, "--out", tmp_path)
    assert status == 0, err
    [gone] = json.loads(out)["excluded"]
    page = (tmp_path / "report.html").read_text()
    summary, _, tables = page.partition('<section id="tables">')
    assert gone["name"] == "finetuning-n"
    assert f"<td>finetuning-n</td><td>{gone['reason']}</td>" in tables
    assert "finetuning-n" not in summary.partition('<section id="summary">')[2]


def test_the_width_of_the_huber_is_heeded(run: Run, theirs: Path) -> None:
    arguments = ["compare", theirs, *MAP, "--laws", "chinchilla", "kaplan", "--json"]
    narrow, wide = (json.loads(run(*arguments, "--delta", delta)[1]) for delta in ("1e-4", "0.1"))
    assert (narrow["delta"], wide["delta"]) == (1e-4, 0.1)
    assert narrow["rows"][0]["rolling_rms"] != wide["rows"][0]["rolling_rms"]


def test_mistakes_are_one_sentence(mistake: Mistake, theirs: Path) -> None:
    mistake(["compare", theirs, *MAP, "--laws", "chinchila"], "nearest: 'chinchilla'")
    mistake(["compare", theirs, *MAP, "--objective", "l1", "--delta", "0.1"], "'l1' has no delta")
