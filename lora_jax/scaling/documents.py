"""Reports as JSON: fits.json, fit.json and groups.json are written and read here, and nowhere else.

What is written says its format; files without one are of format 1, and are read as well. In these, `law` of a
fit of fits.json is the law in words. It now is the key of the law, as in fit.json, and `name` has the words.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import check_format, from_document, reading, to_document
from lora_jax.errors import LoraJaxError
from lora_jax.files import to_json, write_atomically
from lora_jax.scaling.group_results import GroupResult, GroupsReport
from lora_jax.scaling.optima.approach_report import ApproachReport
from lora_jax.scaling.results import FORMAT, FitReport
from lora_jax.scaling.sweep_results import SweepReport

BULK = ("samples", "profiles", "runs", "band")  # of a fit's document: for figures, not for reading
OF_A_GROUP = ("group", "folder", "not_fitted")  # of an entry of groups.json; the rest is the document
NOTHING: Mapping[str, Any] = {"samples": {}, "profiles": {}, "runs": [], "band": None}


def fit_to_document(report: FitReport) -> dict[str, Any]:
    """Return the content of fit.json."""
    return to_document(report)


def fit_to_short_document(report: FitReport) -> dict[str, Any]:
    """Return the content of fit.json without what is for figures alone, as `--json` prints it."""
    return {name: part for name, part in fit_to_document(report).items() if name not in BULK}


def fit_from_document(document: Mapping[str, Any]) -> FitReport:
    """Return what fit.json says, whole or without its bulk.

    Raises:
        Unreadable: it lacks something, holds something else, or is of a later version's format.
    """
    check_format(document, FORMAT)
    return from_document(FitReport, {**NOTHING, **document})


def sweep_to_document(report: SweepReport) -> dict[str, Any]:
    """Return the content of fits.json, in the format of the report."""
    document = to_document(report)
    if report.format == 1:
        document["fits"] = [_with_words_as_law(fit) for fit in document["fits"]]
    return document


def sweep_from_document(document: Mapping[str, Any]) -> SweepReport:
    """Return what fits.json says; raises Unreadable as `fit_from_document` does."""
    check_format(document, FORMAT)
    if "format" not in document and isinstance(document.get("fits"), list):
        document = {**document, "fits": [_with_key_as_law(fit) for fit in document["fits"]]}
    return from_document(SweepReport, document)


def group_to_document(found: GroupResult) -> dict[str, Any]:
    """Return an entry of groups.json: the group, its folder, and the document without its bulk."""
    entry: dict[str, Any] = {"group": dict(found.group)}
    if found.not_fitted is not None:
        return {**entry, "not_fitted": found.not_fitted}
    if found.folder is not None:
        entry["folder"] = found.folder
    if found.approach is not None:
        return {**entry, **found.approach.to_document()}
    return {**entry, **(fit_to_short_document(found.fit) if found.fit is not None else {})}


def groups_to_document(report: GroupsReport) -> dict[str, Any]:
    """Return the content of groups.json."""
    groups = [group_to_document(found) for found in report.groups]
    return {"by": list(report.by), "law": report.law, "table": report.table, "groups": groups}


def groups_from_document(document: Mapping[str, Any]) -> GroupsReport:
    """Return what groups.json says; raises Unreadable as `fit_from_document` does."""
    plain = from_document(GroupsReport, {**document, "groups": []})
    groups = from_document(tuple[Mapping[str, Any], ...], document.get("groups", ()), "groups")
    return replace(plain, groups=tuple(_group_from_document(entry) for entry in groups))


def _group_from_document(entry: Mapping[str, Any]) -> GroupResult:
    plain = from_document(GroupResult, {name: entry[name] for name in OF_A_GROUP if name in entry}, "groups")
    rest = {name: part for name, part in entry.items() if name not in OF_A_GROUP}
    if plain.not_fitted is not None:
        return plain
    if "approach" in rest:
        return replace(plain, approach=ApproachReport.from_document(rest))
    return replace(plain, fit=fit_from_document(rest))


def write_fits(path: str | Path, report: SweepReport) -> None:
    """Write fits.json atomically; raises LoraJaxError where the folder cannot be written."""
    path = Path(path)
    try:
        write_atomically(path, to_sealed_json(sweep_to_document(report)))
    except OSError as problem:
        raise LoraJaxError(
            f"{path} cannot be written ({problem.strerror}): make room or name another."
        ) from problem


def read_fits(path: str | Path) -> SweepReport:
    """Read fits.json; raises LoraJaxError where it is missing, damaged, or not what it should be."""
    path = Path(path)
    document = read_object(path, "run `lora-jax fit` first")
    with reading(path, "run `lora-jax fit` again"):
        return sweep_from_document(document)


def write_fit(path: str | Path, report: FitReport) -> None:
    """Write fit.json atomically."""
    write_atomically(Path(path), to_json(fit_to_document(report)) + "\n")


def _with_words_as_law(fit: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fit["name"] if name == "law" else part for name, part in fit.items() if name != "name"}


def _with_key_as_law(fit: Any) -> Any:
    if not isinstance(fit, Mapping) or not {"key", "law"} <= set(fit):
        return fit
    return {**fit, "law": fit["key"], "name": fit["law"]}
