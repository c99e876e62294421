"""Reports as JSON. Only this file writes and reads fits.json, fit.json and groups.json.

Each document says its format. We read older formats too. `older_sweeps.py` reads those of fits.json.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_jax.digests import read_object, to_sealed_json
from lora_jax.documents import check_format, from_document, reading, to_document
from lora_jax.errors import LoraJaxError
from lora_jax.files import to_json, write_atomically
from lora_jax.scaling import sweep_results
from lora_jax.scaling.group_results import GroupResult, GroupsReport
from lora_jax.scaling.older_sweeps import sweep_from_older, sweep_to_older
from lora_jax.scaling.results import FORMAT, FitReport
from lora_jax.scaling.sweep_results import SweepFit, SweepReport

BULK = ("samples", "profiles", "runs", "band")  # parts of a fit's document that only figures need
NOT_OF_A_SWEEP = ("samples", "profiles")
OF_A_GROUP = ("group", "folder", "not_fitted")  # keys that an entry of groups.json has beside the document
NOTHING: Mapping[str, Any] = {"samples": {}, "profiles": {}, "runs": [], "band": None}


def fit_to_document(report: FitReport) -> dict[str, Any]:
    """Return the content of fit.json."""
    return to_document(report)


def fit_to_short_document(report: FitReport) -> dict[str, Any]:
    """Return the content of fit.json without what only figures need, as `--json` prints it."""
    return _without(fit_to_document(report), BULK)


def fit_from_document(document: Mapping[str, Any]) -> FitReport:
    """Return the report that a fit.json holds. The parts that only figures need may be missing.

    Raises:
        Unreadable: A field is missing or has a wrong value, or the format is of a later version.
    """
    check_format(document, FORMAT)
    return from_document(FitReport, {**NOTHING, **document})


def sweep_to_document(report: SweepReport) -> dict[str, Any]:
    """Return the content of fits.json, in the format of the report."""
    if report.format < sweep_results.FORMAT:
        return sweep_to_older(report)
    fits = [_without(to_document(fit), NOT_OF_A_SWEEP) for fit in report.fits]
    return {**to_document(report), "fits": fits}


def sweep_from_document(document: Mapping[str, Any]) -> SweepReport:
    """Return the report that a fits.json holds, of any format.

    Raises:
        Unreadable: A field is missing or has a wrong value, or the format is of a later version.
    """
    check_format(document, sweep_results.FORMAT)
    if document.get("format", 1) < sweep_results.FORMAT:
        return sweep_from_older(document)
    plain = from_document(SweepReport, {**document, "fits": []})
    entries = from_document(tuple[Mapping[str, Any], ...], document.get("fits"), "fits")
    fits = [from_document(SweepFit, {**NOTHING, **fit}, f"fits[{i}]") for i, fit in enumerate(entries)]
    return replace(plain, fits=tuple(fits))


def _without(document: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: part for name, part in document.items() if name not in names}


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


def write_fits(path: str | Path, report: SweepReport) -> None:
    """Write fits.json atomically.

    Raises:
        LoraJaxError: The file cannot be written.
    """
    path = Path(path)
    try:
        write_atomically(path, to_sealed_json(sweep_to_document(report)))
    except OSError as problem:
        raise LoraJaxError(
            f"{path} cannot be written ({problem.strerror}): make room or name another."
        ) from problem


def read_fits(path: str | Path) -> SweepReport:
    """Read fits.json.

    Raises:
        LoraJaxError: The file is missing or damaged, or holds something else.
    """
    path = Path(path)
    document = read_object(path, "run `lora-jax fit` first")
    with reading(path, "run `lora-jax fit` again"):
        return sweep_from_document(document)


def write_fit(path: str | Path, report: FitReport) -> None:
    """Write fit.json atomically."""
    write_atomically(Path(path), to_json(fit_to_document(report)) + "\n")
