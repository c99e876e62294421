"""What a fit says in sentences: the verdict first, then what was fitted, then every doubt."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lora_jax.report.numbers import format_interval, format_power

Document = Mapping[str, Any]  # of one law fitted to one table, docs/architecture.md
LONGEST_VERDICT = 150  # letters, after which the reasons are only counted


def verdict_line(document: Document) -> str:
    """Return "believe it: ...", "be careful: ..." or "do not believe it: not converged ..." with the reasons.

    Reasons that make the line too long are counted; `doubts` has them all.
    """
    certificate = document["certificate"]
    reasons = list(certificate["warnings"])
    if not certificate["converged"]:
        reasons.sort(key=lambda line: not line.startswith("not converged"))
        return _listed("do not believe it", reasons or ["not converged"])
    head = certificate["verdict"].partition(":")[0]
    return _listed(head, reasons) if reasons else f"{head}: {_believed(document)}"


def _listed(head: str, reasons: Sequence[str]) -> str:
    line = f"{head}: {reasons[0]}"
    for i, reason in enumerate(reasons[1:], 1):
        if len(line) + len(reason) > LONGEST_VERDICT:
            more = len(reasons) - i
            return f"{line}; and {more} more {'reason' if more == 1 else 'reasons'}, below"
        line += f"; {reason}"
    return line


def _believed(document: Document) -> str:
    name = document["leading"]["name"]
    number = document["derived"].get(name) or document["params"].get(name)
    said = f"{name} = {format_power(document['leading']['value'])}"
    if number is not None:
        value, interval = format_interval(number)
        said = f"{name} = {value} ({interval})"
    return f"{said}, converged to one minimum, and no check of the fit or of the runs warns"


def is_believed(document: Document) -> bool:
    """Return whether the verdict is to believe the fit."""
    return verdict_line(document).startswith("believe it")


def describe(document: Document) -> list[str]:
    """Return what was fitted to what, and how, in three sentences."""
    reference = document["reference"]
    source = f", arXiv {reference}" if reference[:4].isdigit() else f", {reference}" if reference else ""
    n, clusters, gone = document["n"], document["n_clusters"], Counter(_reasons(document))
    runs = f" of {clusters} training runs" if clusters != n else ""
    left = f" Left out: {', '.join(f'{k} ({reason})' for reason, k in gone.items())}." if gone else ""
    columns = [
        f"{v} is {document[c]}" for v, c in (("N", "n_column"), ("C", "flops_column")) if _uses(document, v)
    ]
    objective, replicates = document["objective"], document["bootstrap"]
    failed = f", {replicates['n_failed']} failed" if replicates["n_failed"] else ""
    return [
        f"{document['formula']} ({document['name']}{source}).",
        f"Fitted to {n} rows{runs} of {title_of(document)}; {response_in_unit(document)}"
        f"{''.join(f', {text}' for text in columns)}.{left}",
        f"Objective: {objective['words']}, {format_power(objective['value'], 4)}; intervals by"
        f" {replicates['n']} resamples ({replicates['kind']}{failed}).",
    ]


def response_in_unit(document: Document) -> str:
    """Return what the law predicts and its unit, such as "loss in nats per token"."""
    unit = document["loss_unit"]
    return f"{document['response']} in {unit}" if unit else document["response"]


def _reasons(document: Document) -> list[str]:
    return [gone["reason"] for gone in document["left_out"]]


def _uses(document: Document, variable: str) -> bool:
    return variable in document["variables"] or bool(variable == "C" and document["frontier"])


def title_of(document: Document) -> str:
    """Return the table's name without the folders before it."""
    return Path(document["table"]).name or document["table"]


def doubts(document: Document) -> list[str]:
    """Return every warning of the certificate once, as a sentence."""
    return list(dict.fromkeys(sentence(line) for line in document["certificate"]["warnings"]))


def notes(document: Document) -> list[str]:
    """Return what was done to the table, as sentences; one may begin with the name of a column."""
    return list(dict.fromkeys(line if line.endswith(".") else f"{line}." for line in document["notes"]))


def sentence(text: str) -> str:
    """Return the text with a full stop, and a capital unless its first word is a name."""
    first = text.split(" ", 1)[0].rstrip(":,")
    if len(first) > 1 and first.isalpha() and first.islower():
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
