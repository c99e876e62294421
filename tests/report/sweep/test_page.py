"""The page shows all there is, nothing else, and needs nothing from outside."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from lora_jax.digests import to_sealed_json
from lora_jax.errors import LoraJaxError
from lora_jax.report.fit.certificate import certificate_pairs
from lora_jax.report.fit.conclusions import describe, sentence, verdict_line
from lora_jax.report.fit.page import make_fit_page
from lora_jax.report.kit.markup import NO_BREAK
from lora_jax.report.kit.page_script import SCRIPT
from lora_jax.report.kit.tables import to_prose
from lora_jax.report.sweep.doubts import doubts_of
from lora_jax.report.sweep.page import make_page, write_report
from lora_jax.report.sweep.results import read_results

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Reader(HTMLParser):
    """Collects tags, attributes, text and tables, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.tags, self.tables, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        last = self.open.pop() if self.open else None
        assert last == tag, f"</{tag}> closes {last}"

    def handle_data(self, data):
        data = data.replace(f"{NO_BREAK}%", " %")
        if not {"style", "script"} & set(self.open):
            self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data

    def tables_with(self, *columns: str) -> list[list[dict[str, str]]]:
        """Return the rows of every table that has all these columns."""
        found = [(head, rows) for head, *rows in self.tables if set(columns) <= set(head)]
        return [[dict(zip(head, row, strict=True)) for row in rows] for head, rows in found]

    def table(self, *columns: str) -> list[dict[str, str]]:
        """Return the rows of the first table that has all these columns."""
        found = self.tables_with(*columns)
        assert found, f"no table has {columns}"
        return found[0]


def read_html(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def words_of(folder) -> Reader:
    """Return the page of a folder without its figures, which take seconds to draw."""
    return read_html(make_page(read_results(folder), ""))


def assert_only_our_script(text: str) -> None:
    """The page holds one script, ours, and its policy lets no other run."""
    assert re.findall(r"<script[^>]*>", text) == ["<script>"]
    assert f"<script>{SCRIPT}</script>" in text
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.count("script-src") == 1
    assert "default-src 'none'" in policy


@pytest.fixture(scope="module")
def written(synthetic, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "synthetic"
    return write_report(shutil.copytree(synthetic, folder))


@pytest.fixture(scope="module")
def page(written):
    return read_html(written.read_text())


@pytest.fixture(scope="module")
def fits(synthetic):
    return json.loads((synthetic / "fits.json").read_text())


def close(text: str, number: float) -> bool:
    """Is `text` the number, rounded to the digits it shows?"""
    exponent = int(text.split("e")[1]) if "e" in text else 0
    mantissa = text.split("e")[0]
    decimals = len(mantissa.split(".")[1]) if "." in mantissa else 0
    return abs(float(text) - number) <= 0.5001 * 10.0 ** (exponent - decimals)


def test_it_needs_nothing_from_outside(written, page):
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("data:image/", "#")), (tag, name, value[:60])
        assert (attributes.get("xlink:href") or "#").startswith("#"), tag
        assert tag not in ("link", "iframe", "object")
    text = written.read_text()
    assert_only_our_script(text)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert len(text) < 5_000_000
    assert str(written.parent.parent) not in text  # where it was made is nobody's business


def test_it_is_one_document_with_words_for_its_pictures(page):
    outside = [t for t, _ in page.tags if t in ("h1", "main")]
    assert outside == ["h1", "main"]
    images = [a["alt"] for t, a in page.tags if t == "img"]
    drawn = [a["aria-label"] for t, a in page.tags if t == "svg"]
    assert (len(images), len(drawn)) == (3, 4)
    assert all(len(words) > 30 for words in (*images, *drawn))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    anchors = {a["href"][1:] for t, a in page.tags if t == "a"}
    assert anchors <= {a.get("id") for _, a in page.tags}


def test_each_runs_point_says_its_name_and_its_values(written, fits):
    text = written.read_text()
    joint = next(fit for fit in fits["fits"] if fit["key"] == "L(N,D)")
    titles = re.findall(r"<title>([^<]*)</title></use>", text)
    for run_id in joint["run_ids"]:
        assert any(title.startswith(f"{run_id}: N = ") and "measured" in title for title in titles)
        assert any(title.startswith(f"{run_id}: N = ") and "held-out loss" in title for title in titles)


def test_every_run_is_shown_with_what_became_of_it(synthetic, page, fits):
    rows = {row["run"]: row for row in page.table("run", "in the fits")}
    assert set(rows) == {path.stem for path in (synthetic / "runs").glob("*.json")}
    for gone in fits["left_out"]:
        assert gone["reason"] in rows[gone["run_id"]]["in the fits"]
    fitted = {i for fit in fits["fits"] for i in fit["run_ids"]}
    assert {i for i, row in rows.items() if row["in the fits"] == "fitted"} == fitted
    assert sum("diverged at step 40" in row["in the fits"] for row in rows.values()) == 1
    for path in (synthetic / "runs").glob("*.json"):
        record = json.loads(path.read_text())
        shown = rows[path.stem]["held-out loss"]
        assert shown == "\u2013" if record["heldout_loss"] is None else close(shown, record["heldout_loss"])
        assert rows[path.stem]["model.d_model"] == str(record["config"]["model"]["d_model"])


def test_numbers_and_intervals_are_those_of_the_fits(page, fits):
    tables = page.tables_with("parameter", "value", "95 % interval")
    keys = [fit["key"] for fit in fits["fits"]]
    shown = {(k, r["parameter"]): r for k, table in zip(keys, tables, strict=True) for r in table}
    exponents = {(r["law"], r["exponent"]): r for r in page.table("exponent", "verdict")}
    n = 0
    for fit in fits["fits"]:
        for name, number in fit["params"].items():
            places = [shown[fit["key"], name]]
            if (fit["key"], name) in exponents:
                places.append(exponents[fit["key"], name])
                level, _, doubts = fit["certificate"]["verdict"].partition(": ")
                n_doubts = len(fit["certificate"]["warnings"])
                word = "doubt" if n_doubts == 1 else "doubts"
                assert places[-1]["verdict"] == (f"{level} ({n_doubts} {word})" if doubts else level)
            for row in places:
                assert close(row["value"], number["value"]), (row, number)
                if number["ci95"] is None:  # open on a side
                    assert row["95 % interval"].startswith(("below ", "above ", "open "))
                    n += 1
                    continue
                low, high = row["95 % interval"].split(" to ")
                assert close(low, number["ci95"][0]), (row, number)
                assert close(high, number["ci95"][1]), (row, number)
                n += 1
    assert n == 20 + 8
    for row, (name, number) in zip(
        page.table("N is counted", "alpha_N"), fits["by_convention"].items(), strict=True
    ):
        assert row["column"] == name
        assert close(row["alpha_N"], number["value"])


def test_each_fit_is_told_as_on_a_page_of_its_own(synthetic, page):
    """The sentences, the table of parameters and the certificate are those of report/fit."""
    results = read_results(synthetic)
    for fit in results.fits.fits:
        alone = read_html(make_fit_page(fit, "", ""))
        assert sentence(verdict_line(fit)) in page.text
        assert all(strip(line) in strip(page.text) for line in describe(fit))
        [table] = alone.tables_with("parameter", "value", "95 % interval")
        assert table in page.tables_with("parameter", "value", "95 % interval")
        for name, said in certificate_pairs(fit):
            assert f"{name}{said}" in page.text


def test_each_law_is_linked_from_the_exponents(page, fits):
    ids = [a["id"] for t, a in page.tags if t == "h3" and "id" in a]
    linked = [a["href"][1:] for t, a in page.tags if t == "a" and a["href"].startswith("#fit-")]
    assert linked == ids
    assert len(ids) == len(fits["fits"])


def strip(text: str) -> str:
    """Return a sentence without the signs that a page writes as raised letters."""
    return text.replace("^", "")


def test_the_held_out_cell_and_every_warning_are_told(page, fits):
    rows = page.table("law", "predicted", "error")
    assert [r["law"] for r in rows] == [p["key"] for p in fits["heldout_cell"]["predictions"]]
    for row, said in zip(rows, fits["heldout_cell"]["predictions"], strict=True):
        assert close(row["predicted"], said["value"])
        assert close(row["error"].removesuffix(" %").replace("\u2212", "-"), 100 * said["relative_error"])
    assert "predicted within 3 %" in page.text
    warnings = [*fits["warnings"], *fits["learning_rate"]["warnings"]]
    warnings += [line for fit in fits["fits"] for line in fit["certificate"]["warnings"]]
    assert len(warnings) >= 3
    for line in warnings:
        assert line in page.text


def test_the_summary_opens_with_the_verdict_and_three_doubts_each_told_once(fresh):
    """Laws that share a doubt share its line, and the first three are of L(N,D) and of different kinds."""
    fits = json.loads((fresh / "fits.json").read_text())
    for i, fit in enumerate(fits["fits"]):
        fit["certificate"]["warnings"] = [f"lack of fit: the runs lie {i}.5 % off the law", "at a bound: E"]
    joint = fits["fits"][-1]
    assert joint["key"] == "L(N,D)"
    joint["certificate"]["warnings"][1:1] = ["weakly identified: B", "without run a alpha = 0.3 moves by 0.1"]
    change_fits(fresh, fits=fits["fits"])
    results = read_results(fresh)
    summary = make_page(results, "").partition("<section id=")[2].partition("</section>")[0]
    parts = summary.index('class="verdict bad"'), summary.index("<ul"), summary.index("<details>")
    assert parts == tuple(sorted(parts))
    lines = re.findall(r"<li>(.*?)</li>", summary)
    shown = re.findall(r"<li>(.*?)</li>", summary.partition("<details>")[0])
    assert [" ".join(line.partition(": ")[2].split()[:2]) for line in shown] == [
        "lack of",
        "weakly identified:",
        "without run",
    ]
    said = f"There are {len(lines)} doubts. The three that matter most:"
    assert said in summary
    keys = ", ".join(fit["key"] for fit in fits["fits"])
    assert lines.count(f"{keys}: at a bound: E") == 1
    for line in doubts_of(results.fits):
        assert summary.count(to_prose(line)) == 1


def test_an_exponent_at_its_bound_is_no_result(fresh):
    fits = json.loads((fresh / "fits.json").read_text())
    stuck = {"value": 1.23e-9, "ci95": [1.23e-9, 0.41], "at_bound": {"value": 0.0, "low": 0.0}}
    fits["exponents"]["alpha_N"] |= stuck
    change_fits(fresh, exponents=fits["exponents"])
    text = words_of(fresh).text
    assert "alpha_N is at its bound (0), which is no measurement." in text
    assert "1.23e-9" not in text


def test_settings_and_provenance(synthetic, page):
    for name in ("model.vocab_size", "optim.schedule", "data.tokenizer", "git commit", "jax", "wall time"):
        assert name in page.text
    assert "launch.sh scaling configs/synthetic.py" in page.text
    records = read_results(synthetic).records.values()
    spent = sum(r.flops_exact for r in records)  # no run of this sweep shares a trunk
    [shown] = re.findall(r"compute spent([0-9.e]+) FLOPs", page.text)
    assert close(shown, spent)


def test_a_shared_trunk_is_paid_for_once(fresh):
    path = next((fresh / "runs").glob("d96x8-t1048576-*.json"))
    record = json.loads(path.read_text())
    before = sum(r.flops_exact for r in read_results(fresh).records.values())
    path.write_text(to_sealed_json(record | {"trained_tokens": record["n_tokens"] // 2}))
    [shown] = re.findall(r"compute spent([0-9.e]+) FLOPs", words_of(fresh).text)
    assert close(shown, before - record["flops_exact"] / 2)


def change_fits(folder, **changes):
    path = folder / "fits.json"
    path.write_text(to_sealed_json(json.loads(path.read_text()) | changes))


def test_nothing_that_records_say_runs(fresh):
    attack = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(2)>\"'&"
    fits = json.loads((fresh / "fits.json").read_text())
    fits["left_out"][0]["reason"] = attack
    fits["fits"][0]["certificate"]["warnings"] = [attack]
    change_fits(fresh, warnings=[attack], left_out=fits["left_out"], fits=fits["fits"])
    sweep = json.loads((fresh / "sweep.json").read_text())
    (fresh / "sweep.json").write_text(
        to_sealed_json(sweep | {"name": attack, "question": attack, "command": attack})
    )
    for path in (fresh / "runs").glob("*.json"):
        record = json.loads(path.read_text())
        path.write_text(to_sealed_json(record | {"device": attack, "versions": {attack: attack}}))
    text = make_page(read_results(fresh), "")
    assert_only_our_script(text)
    page = read_html(text)
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert not [t for t, _ in page.tags if t == "img"]  # this page was made without figures
    assert page.text.count(attack) >= 8


def test_a_failed_prediction_is_said_plainly(fresh):
    cell = json.loads((fresh / "fits.json").read_text())["heldout_cell"]
    cell["predictions"][0] |= {"value": 2.5, "relative_error": 0.35, "ci95": [2.4, 2.6]}
    change_fits(fresh, heldout_cell=cell | {"within_3_percent": False})
    text = words_of(fresh).text
    assert "Be careful." in text
    assert text.count("the held-out cell is not predicted within 3 %") == 1
    assert "more than 3 %: do not extrapolate" in text
    assert "outside the interval" in text
    assert "cell is predicted within 3 %" not in text


def test_without_the_joint_law_the_predictions_of_the_others_are_not_denied(fresh):
    cell = json.loads((fresh / "fits.json").read_text())["heldout_cell"]
    others = [p for p in cell["predictions"] if p["key"] != "L(N,D)"]
    assert others
    change_fits(fresh, heldout_cell=cell | {"predictions": others, "within_3_percent": None})
    text = words_of(fresh).text
    assert "nothing predicts it" not in text
    assert "L(N,D) was not fitted; the table has the other predictions." in text


def test_laws_that_were_not_fitted_leave_a_page(fresh):
    """A sweep too small for L(N) and L(N,D) still gets its page."""
    fits = json.loads((fresh / "fits.json").read_text())
    change_fits(
        fresh,
        fits=[f for f in fits["fits"] if f["key"].startswith("L(D)")],
        exponents={"alpha_D": fits["exponents"]["alpha_D"]},
        by_convention={},
        frontier={"a": None, "b": None, "G": None, "rows": [], "run_ids": []},
        heldout_cell=fits["heldout_cell"] | {"predictions": [], "within_3_percent": None},
        learning_rate={"grids": [], "warnings": []},
        noise={"seed_sd_log_loss": None, "n_cells": 0, "degrees_of_freedom": 0},
        warnings=["L(N) is not fitted: no token count has 3 sizes."],
    )
    page = read_html(write_report(fresh).read_text())
    assert "L(N) is not fitted" in page.text
    assert "nothing predicts it" in page.text
    assert "No cell is known to have several seeds" in page.text
    shown = {a["id"] for t, a in page.tags if t == "section"}
    assert shown == {"summary", "exponents", "figures", "fits", "runs", "settings", "provenance"}
    assert not (fresh / "figures" / "loss_vs_N.png").exists()
    assert (fresh / "figures" / "loss_vs_D.png").exists()


def test_runs_newer_than_the_fits_are_a_warning(fresh):
    change_fits(fresh, n_runs=30)
    assert "run lora-jax fit again" in words_of(fresh).text


@pytest.mark.parametrize("name", ["sweep.json", "runs.csv", "fits.json", "runs/*.json", "curves/*.csv"])
@pytest.mark.parametrize("damage", ["remove", "cut", "binary", "empty"])
def test_a_missing_or_corrupt_file_is_named_with_a_remedy(fresh, name, damage):
    path = sorted(fresh.glob(name))[0]
    if damage == "remove":
        path.unlink()
        if name == "curves/*.csv":
            read_results(fresh)  # a run may have no curve
            return
    else:
        content = path.read_bytes()
        path.write_bytes(
            {"cut": content[: len(content) // 2], "binary": b"\xff\xfe\x00", "empty": b""}[damage]
        )
    with pytest.raises(LoraJaxError, match=re.escape(path.name)) as caught:
        read_results(fresh)
    assert re.search(r": (run|delete it)[^:]*\.$", str(caught.value).replace("\n", " ")), caught.value


def test_a_stale_fit_and_a_folder_that_is_none(fresh, tmp_path):
    with pytest.raises(LoraJaxError, match="not a folder"):
        write_report(tmp_path / "nowhere")
    fits = json.loads((fresh / "fits.json").read_text())
    fits["fits"][0]["run_ids"][0] = "gone"
    change_fits(fresh, fits=fits["fits"])
    with pytest.raises(LoraJaxError, match=r"'gone'.*fit` again"):
        write_report(fresh)
