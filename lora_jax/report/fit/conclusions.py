"""What a fit says in sentences: the verdict first, then what was fitted, then every doubt."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lora_jax.report.kit.numbers import format_interval, format_power
from lora_jax.scaling.results import FitReport

LONGEST_VERDICT = 150  # letters, after which the reasons are only counted


def verdict_line(report: FitReport) -> str:
    """Return "believe it: ...", "be careful: ..." or "do not believe it: not converged ..." with the reasons.

    Reasons that make the line too long are counted; `doubts` has them all.
    """
    verdict = report.verdict
    if verdict.is_believed:
        return f"{verdict.level}: {_believed(report)}"
    return _listed(verdict.level, verdict.doubts)


def _listed(head: str, reasons: Sequence[str]) -> str:
    line = f"{head}: {reasons[0]}"
    for i, reason in enumerate(reasons[1:], 1):
        if len(line) + len(reason) > LONGEST_VERDICT:
            more = len(reasons) - i
            return f"{line}; and {more} more {'reason' if more == 1 else 'reasons'}, below"
        line += f"; {reason}"
    return line


def _believed(report: FitReport) -> str:
    name = report.leading.name
    number = report.leading_estimate
    said = f"{name} = {format_power(report.leading.value)}"
    if number is not None:
        value, interval = format_interval(number)
        said = f"{name} = {value}" + (f" ({interval})" if number.ci95 else "")
    return f"{said}; the fit converged to one minimum, and none of our checks warns"


def describe(report: FitReport) -> list[str]:
    """Return what was fitted to what, and how, in three sentences."""
    reference = report.reference
    source = f", arXiv {reference}" if reference[:4].isdigit() else f", {reference}" if reference else ""
    n, clusters, gone = report.n, report.n_clusters, Counter(_reasons(report))
    runs = f" ({clusters} {report.clusters})" if clusters not in (None, n) else ""
    left = f" Left out: {', '.join(f'{k} ({reason})' for reason, k in gone.items())}." if gone else ""
    columns = [f"{v} is {report.columns[v]}" for v in "NC" if v in report.variables]
    if report.frontier:
        columns.append("a budget C is 6 N D")
    objective, replicates = report.objective, report.bootstrap
    done, whose = ("Judged on", " of the fit") if report.is_given else ("Fitted to", "")
    failed = f", {replicates.n_failed} failed" if replicates.n_failed else ""
    return [
        f"{report.formula} ({report.name}{source}).",
        f"{done} {n} rows{runs} of {title_of(report)}; {response_in_unit(report)}"
        f"{''.join(f', {text}' for text in columns)}.{left}",
        f"Objective: {objective.words}, {format_power(objective.value, 4)}; intervals{whose} by"
        f" {replicates.n} resamples ({replicates.kind}{failed}).",
    ]


def response_in_unit(report: FitReport) -> str:
    """Return what the law predicts and its unit, such as "loss in nats per token"."""
    unit = report.response_unit
    taken = "" if report.unit_told else " (taken to be)"
    return f"{report.response} in {unit}{taken}" if unit else report.response


def _reasons(report: FitReport) -> list[str]:
    return [gone.reason for gone in report.left_out]


def title_of(report: FitReport) -> str:
    """Return the table's name without the folders before it."""
    return Path(report.table).name or report.table


def doubts(report: FitReport) -> list[str]:
    """Return every warning of the certificate once, as a sentence."""
    return list(dict.fromkeys(sentence(line) for line in report.certificate.warnings))


def notes(report: FitReport) -> list[str]:
    """Return what was done to the table, as sentences; one may begin with the name of a column."""
    return list(dict.fromkeys(line if line.endswith(".") else f"{line}." for line in report.notes))


def sentence(text: str) -> str:
    """Return the text with a full stop, and a capital unless its first word is a name."""
    first = text.split(" ", 1)[0].rstrip(":,")
    if len(first) > 1 and first.isalpha() and first.islower():
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
