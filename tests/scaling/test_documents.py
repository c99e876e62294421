"""Reports as JSON: read, written again the same, and refused in a sentence where they are not whole."""

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_jax.documents import Unreadable, to_document
from lora_jax.errors import LoraJaxError
from lora_jax.files import load_json, to_json
from lora_jax.scaling.documents import (
    fit_from_document,
    fit_to_document,
    fit_to_short_document,
    read_fits,
    sweep_from_document,
    sweep_to_document,
    write_fits,
)
from lora_jax.scaling.laws import CHINCHILLA, power_law
from lora_jax.scaling.one_law import Questions, fit_law
from lora_jax.scaling.results import FORMAT, FitReport
from lora_jax.scaling.sweep import fit_sweep
from lora_jax.scaling.sweep_results import FORMAT as OF_A_SWEEP
from lora_jax.scaling.tables.table import RunTable
from lora_jax.scaling.verdict import UNDETERMINED, Level

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
FITS = sorted(PUBLISHED.rglob("fits.json"))
OF_A_LAW = sorted([*PUBLISHED.rglob("fit.json"), *PUBLISHED.rglob("groups.json")])
EVERY = {
    "own": Questions(
        n_bootstrap=100,
        figures=True,
        budgets=[1e15],
        predict=[{"N": 1e6, "D": 1e8}],
        versus=["hoffmann"],
        compare=True,
    ),
    "judged": Questions(
        n_bootstrap=100, given={"E": 1.2, "A": 16.0, "alpha": 0.35, "B": 70.0, "beta": 0.4}, budgets=[1e15]
    ),
    "fixed": Questions(n_bootstrap=100, fixed={"E": 1.2}, serve=[(1.5, 1e9)]),
}


def as_read(document: Any) -> Any:
    """Return a document as it comes back from a file."""
    return json.loads(to_json(document))


def report_of(sweep: Callable[..., RunTable], kind: str) -> FitReport:
    if kind == "one variable":
        return fit_law(sweep(), power_law("N", irreducible=True), Questions(n_bootstrap=100, figures=True))
    return fit_law(sweep(8, 5), CHINCHILLA, EVERY[kind])


@pytest.mark.parametrize("path", FITS, ids=lambda path: path.parent.name)
def test_every_published_sweep_is_read_and_written_again_the_same(path: Path) -> None:
    document = load_json(path)
    document.pop("digest", None)
    report = read_fits(path)
    assert as_read(sweep_to_document(report)) == document
    assert [fit.law for fit in report.fits] == [fit.key for fit in report.fits]
    assert [fit.name for fit in report.fits] == [
        fit.get("name", fit["law"])
        for fit in document["fits"]  # older files have the name alone
    ]
    words = [fit["certificate"]["verdict"] for fit in document["fits"]]
    assert [fit.certificate.verdict.words for fit in report.fits] == words


def test_published_sweeps_are_found() -> None:
    assert len(FITS) >= 2


def test_every_published_fit_is_read_and_written_again_the_same() -> None:
    for path in OF_A_LAW:
        document = load_json(path)
        for one in document.get("groups", [document]):
            if "not_fitted" not in one and "approach" not in one:
                told = {name: part for name, part in one.items() if name not in ("group", "folder", "digest")}
                again = as_read(fit_to_document(fit_from_document(told)))
                assert {name: again[name] for name in told} == told, path


@pytest.mark.parametrize("kind", [*EVERY, "one variable"])
def test_a_fit_comes_back_as_it_was(sweep: Callable[..., RunTable], kind: str) -> None:
    report = report_of(sweep, kind)
    document = as_read(fit_to_document(report))
    assert document["format"] == FORMAT
    assert as_read(fit_to_document(fit_from_document(document))) == document
    short = as_read(fit_to_short_document(report))
    assert as_read(fit_to_short_document(fit_from_document(short))) == short
    assert fit_from_document(short) == fit_from_document(as_read(fit_to_document(report.without_bulk())))


def test_a_sweep_comes_back_as_it_was(sweep: Callable[..., RunTable], tmp_path: Path) -> None:
    report = fit_sweep(sweep(), n_bootstrap=50)
    write_fits(tmp_path / "fits.json", report)
    assert read_fits(tmp_path / "fits.json") == report
    entry = load_json(tmp_path / "fits.json")["fits"][0]
    assert (entry["key"], entry["law"], entry["name"]) == ("L(N)", "L(N)", "power law")
    assert load_json(tmp_path / "fits.json")["format"] == OF_A_SWEEP


@pytest.mark.parametrize("format", [1, 2])
def test_a_sweep_of_an_older_format_says_the_same_of_what_it_says(
    sweep: Callable[..., RunTable], format: int
) -> None:
    """Its numbers, words and verdicts are those of the report; written again it is what it was."""
    report = fit_sweep(sweep(), n_bootstrap=50)
    document = as_read(sweep_to_document(replace(report, format=format)))
    if format == 1:
        document.pop("format", None)
    again = sweep_from_document(document)
    assert as_read(sweep_to_document(again)) == document
    for old, fit in zip(again.fits, report.fits, strict=True):
        assert {name: number.plain() for name, number in old.params.items()} == {
            name: number.plain() for name, number in fit.params.items()
        }
        assert old.certificate.verdict == fit.certificate.verdict
        same = ("key", "law", "name", "variables", "slice", "n", "run_ids", "residuals", "band", "columns")
        assert [getattr(old, name) for name in same] == [getattr(fit, name) for name in same]
        assert (old.leading.name, old.objective.words) == (fit.leading.name, fit.objective.words)
        assert old.leading.value == pytest.approx(fit.leading.value, rel=1e-12)


def test_a_law_of_a_sweep_is_reported_as_by_itself(sweep: Callable[..., RunTable]) -> None:
    """On the same rows `fit FOLDER` and `fit --law` give one report, but for what was asked."""
    table = sweep()
    found = fit_sweep(table, n_bootstrap=50)
    largest = table.run_ids.index(found.heldout_cell.run_id)
    rows = [i for i in range(len(table)) if i != largest]
    alone = fit_law(table.take(rows), CHINCHILLA, Questions(n_bootstrap=50))
    joint = found.joint
    assert joint is not None
    asked = ("left_out", "samples", "profiles", "frontier", "conventions", "flops_column", "columns", "runs")
    for field in dataclasses.fields(FitReport):
        if field.name not in asked:
            assert getattr(joint, field.name) == getattr(alone, field.name), field.name


def test_a_fit_that_did_not_converge_is_not_to_be_believed_in_any_document() -> None:
    """Older files said "be careful" of it: the level follows from the certificate, not from the sentence."""
    document = load_json(PUBLISHED / "scaling_cpu" / "fits.json")
    certificate = document["fits"][0]["certificate"]
    certificate |= {
        "converged": False,
        "warnings": ["weakly identified: N_c", "not converged: gradient 1e-3"],
    }
    report = sweep_from_document(document)
    verdict = report.fits[0].certificate.verdict
    assert verdict.level is Level.DO_NOT_BELIEVE
    assert verdict.words == "do not believe it: not converged: gradient 1e-3; weakly identified: N_c"
    assert sweep_to_document(report)["fits"][0]["certificate"]["verdict"] == verdict.words
    assert report.verdict is not None
    assert report.verdict.level is Level.DO_NOT_BELIEVE


def test_a_joint_law_that_its_runs_leave_open_is_not_to_be_believed() -> None:
    """Runs with D = k N say which of two numbers is alpha as little as a descent that was stopped."""
    document = load_json(PUBLISHED / "scaling_cpu" / "fits.json")
    [joint] = [fit["certificate"] for fit in document["fits"] if fit["key"] == "L(N,D)"]
    joint |= {"warnings": ["weakly identified: B", f"{UNDETERMINED}: D = k N in every run"]}
    report = sweep_from_document(document)
    assert report.joint is not None
    own = report.joint.certificate.verdict
    assert own.words == "do not believe it: undetermined: D = k N in every run; weakly identified: B"
    assert report.verdict is not None
    assert report.verdict.level is Level.DO_NOT_BELIEVE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("noise"), "has no 'noise'"),
        (lambda d: d["fits"][1]["certificate"].pop("warnings"), "'fits[1].certificate' has no 'warnings'"),
        (lambda d: d.update(n_runs="many"), "'n_runs' is 'many', but it must be a whole number"),
        (lambda d: d.update(fits={}), "'fits' is {}, but it must be a list"),
        (lambda d: d.update(format=OF_A_SWEEP + 1), f"is of format {OF_A_SWEEP + 1}"),
    ],
)
def test_what_is_not_whole_is_said_by_the_keys_that_lead_there(
    change: Callable[[dict[str, Any]], object], words: str, tmp_path: Path
) -> None:
    document = load_json(PUBLISHED / "scaling_cpu" / "fits.json")
    document.pop("digest", None)
    change(document)
    with pytest.raises(Unreadable, match=re.escape(words)):
        sweep_from_document(document)
    (tmp_path / "fits.json").write_text(to_json(document))
    with pytest.raises(LoraJaxError, match=re.escape(words)) as caught:
        read_fits(tmp_path / "fits.json")
    assert "run `lora-jax fit` again" in str(caught.value)


def test_numbers_that_are_not_finite_are_null_and_come_back() -> None:
    document = load_json(PUBLISHED / "scaling_cpu" / "fits.json")
    document["fits"][0]["certificate"]["condition_number"] = None
    report = sweep_from_document(document)
    assert report.fits[0].certificate.condition_number != report.fits[0].certificate.condition_number
    assert as_read(to_document(report.fits[0]))["certificate"]["condition_number"] is None
