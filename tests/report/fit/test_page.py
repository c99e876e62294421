"""The page of one fit shows all there is in the document, nothing else, and needs nothing from outside."""

import re

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.report.fit.page import make_fit_page, write_fit_report
from lora_jax.scaling.documents import fit_from_document
from tests.report.lab_document import some_document
from tests.report.sweep.test_page import assert_only_our_script, close, read_html


def words_of(document):
    """Return the page without its figures, which take seconds to draw."""
    return read_html(make_fit_page(fit_from_document(document), "", ""))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_fit_report(fit_from_document(some_document()), tmp_path_factory.mktemp("fit") / "new")


@pytest.fixture(scope="module")
def page(written):
    return read_html(written.read_text())


def test_files_are_whole_and_where_they_belong(written):
    files = {str(p.relative_to(written.parent)) for p in written.parent.rglob("*") if p.is_file()}
    names = ("fit", "residuals", "profiles", "contours", "influence", "frontier", "ranking", "reach")
    assert files == {"report.html", *(f"figures/{n}.{kind}" for n in names for kind in ("png", "svg"))}


def test_it_needs_nothing_from_outside(written, page):
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object")
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
        assert attributes.get("xlink:href", "#").startswith("#")
    text = written.read_text()
    assert_only_our_script(text)
    assert len(text) < 5_000_000
    images = [a["alt"] for t, a in page.tags if t == "img"]
    drawn = [a["aria-label"] for t, a in page.tags if t == "svg"]
    assert (len(images), len(drawn)) == (6, 2)
    assert all(len(words) > 30 for words in (*images, *drawn))
    anchors = {a["href"][1:] for t, a in page.tags if t == "a"}
    assert anchors == {a.get("id") for t, a in page.tags if t == "section"}


def test_numbers_are_those_of_the_document(page):
    document = some_document()
    shown = {r["parameter"]: r for r in page.table("parameter", "value")}
    for name, number in {**document["params"], **document["derived"]}.items():
        low, high = shown[name]["95 % interval"].split(" to ")
        assert close(shown[name]["value"], number["value"]), name
        assert close(low, number["ci95"][0]), name
        assert close(high, number["ci95"][1]), name
    rows = page.table("run", "measured", "fitted")
    assert [r["run"] for r in rows] == [run["run_id"] for run in document["runs"]]
    for row, run in zip(rows, document["runs"], strict=True):
        assert close(row["measured"], run["measured"])
        assert close(row["fitted"], run["fitted"])
        assert close(row["shift of a"].replace("\u2212", "-"), run["influence"])
    said = [r["quantity"] for r in page.table("quantity", "80 % interval")]
    assert said == [row["quantity"] for row in document["predictions"]]
    assert len(page.table("C (FLOPs)", "N*")) == len(document["frontier"]["rows"])
    ranked = [r["law"] for r in page.table("law", "rolling origin")]
    assert ranked == [row["name"] for row in document["comparison"]["rows"]]


def test_verdict_doubts_settings_and_provenance_are_told():
    document = some_document()
    document["certificate"] |= {
        "warnings": ["weakly identified: B"],
        "verdict": "be careful: weakly identified: B",
    }
    document["left_out"] = [{"run_id": "run-9", "reason": "diverged"}]
    page = words_of(document)
    for part in (
        "Be careful. There is one doubt:",
        "Weakly identified: B.",
        document["command"],
        "Huber(1e-3)",
        "200 refits",
        "n_params",
        "versions.numpy",
        document["notes"][0],
        document["differences"][0]["words"],
        "2203.15556",
        document["formula"],
    ):
        assert part in page.text, part
    assert page.text.lower().count("weakly identified: b") == 1
    assert page.table("run", "reason") == [{"run": "run-9", "reason": "diverged"}]
    verdicts = [a["class"] for _, a in page.tags if "verdict" in a.get("class", "")]
    assert verdicts == ["verdict bad"]
    believed = words_of(some_document())
    assert [a["class"] for _, a in believed.tags if "verdict" in a.get("class", "")] == ["verdict good"]


def test_three_doubts_are_shown_and_the_rest_is_folded():
    document = some_document()
    document["certificate"]["warnings"] = [f"doubt number {i}" for i in range(5)]
    page = make_fit_page(fit_from_document(document), "", "")
    before, _, folded = page.partition("<details>")
    assert "There are 5 doubts. The three that matter most:" in before
    assert before.index("verdict bad") < before.index("oubt number 0")
    assert [page.count(f"oubt number {i}") for i in range(5)] == [1] * 5
    assert [f"oubt number {i}" in before for i in range(5)] == [True] * 3 + [False] * 2
    assert "Show 2 more" in folded


def test_a_parameter_at_a_bound_is_said_to_be_there_without_digits():
    document = some_document()
    document["certificate"]["at_bound"] = ["B"]
    document["params"]["B"]["at_bound"] = None
    [row] = [r for r in words_of(document).table("parameter", "value") if r["parameter"] == "B"]
    assert row["value"] == "at its bound"
    assert "at a bound" in row["remark"]


def test_nothing_that_the_document_says_runs():
    attack = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>\"'&"
    document = some_document()
    for name in ("law", "name", "formula", "reference", "table", "command", "loss_unit", "response"):
        document[name] = attack
    document |= {"notes": [attack], "versions": {attack: attack}}
    document["certificate"]["warnings"] = [attack]
    document["differences"][0] |= {"name": attack, "words": attack}
    document["comparison"]["words"] = attack
    for run in document["runs"]:
        run["run_id"] = attack
    text = make_fit_page(fit_from_document(document), "", "")
    assert_only_our_script(text)
    page = read_html(text)
    assert not [t for t, _ in page.tags if t == "img"]
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert page.text.count(attack) >= 10


def test_sections_without_content_are_left_out():
    page = words_of(some_document("one variable"))
    sections = {a["id"] for t, a in page.tags if t == "section"}
    assert {"summary", "parameters", "certificate", "runs", "settings"} <= sections
    assert not {"frontier", "forms", "published", "counting"} & sections
    assert "None" not in page.text


def test_a_results_folder_keeps_its_own_page(tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(LoraJaxError, match=re.escape("name another folder")):
        write_fit_report(fit_from_document(some_document()), tmp_path)
    assert not (tmp_path / "report.html").exists()
