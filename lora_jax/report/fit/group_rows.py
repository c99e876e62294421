"""A law on every group of a table: a row a group, with numbers, verdict, or why it was refused."""

from collections.abc import Mapping, Sequence

from lora_jax.estimate import Estimate
from lora_jax.report.fit.conclusions import verdict_line
from lora_jax.report.kit.numbers import MISSING, format_interval
from lora_jax.report.kit.tables import INTERVAL, Table, make_console, print_table
from lora_jax.scaling.group_results import GroupResult
from lora_jax.scaling.verdict import Verdict


def print_groups(by: Sequence[str], entries: Sequence[GroupResult]) -> None:
    """Print how many groups were fitted, then a row a group."""
    console = make_console()
    console.print(count_words(entries), markup=False, highlight=False, soft_wrap=True)
    console.print()
    print_table(short_rows(by, entries), console)
    for entry in entries:
        if entry.not_fitted is not None:
            console.print(
                f"{_name(entry)}: {entry.not_fitted}", style="yellow", markup=False, highlight=False
            )


def count_words(entries: Sequence[GroupResult]) -> str:
    """Return how many groups are believed, doubted and refused, in a sentence."""
    heads = [_head(entry) for entry in entries]
    counted = [f"{heads.count(head)} {head}" for head in dict.fromkeys(sorted(heads))]
    return f"{len(entries)} groups: {', '.join(counted)}."


def doubts_of(entries: Sequence[GroupResult]) -> list[str]:
    """Return a line for each group that is not believed: which it is, and why."""
    return [f"{_name(entry)}: {_told(entry)}" for entry in entries if not _is_believed(entry)]


def _name(entry: GroupResult) -> str:
    return ", ".join(f"{k} = {v or '(empty)'}" for k, v in entry.group.items())


def short_rows(by: Sequence[str], entries: Sequence[GroupResult]) -> Table:
    """Return the leading number with its interval, the other parameters, and the verdict's first words."""
    names = _names(entries)
    found, flagged = [], set()
    for i, entry in enumerate(entries):
        numbers = _numbers(entry)
        if not _is_believed(entry):
            flagged.add(i)
        first = format_interval(numbers[names[0]]) if names[0] in numbers else (MISSING, MISSING)
        others = [format_interval(numbers[n])[0] if n in numbers else MISSING for n in names[1:]]
        group = [entry.group[column] or "(empty)" for column in by]
        found.append((*group, _rows_of(entry), *first, *others, _short_verdict(entry)))
    columns = (*by, "rows", names[0], INTERVAL, *names[1:], "verdict")
    numeric = frozenset({len(by), len(by) + 1, *range(len(by) + 3, len(columns) - 1)})
    return Table("By group", columns, tuple(found), numeric, frozenset(flagged))


def all_rows(by: Sequence[str], entries: Sequence[GroupResult]) -> Table:
    """Return every parameter with its interval, the whole verdict, and the folder of each group."""
    names = _names(entries)
    found, flagged = [], set()
    for i, entry in enumerate(entries):
        numbers = _numbers(entry)
        if not _is_believed(entry):
            flagged.add(i)
        cells = [_both(numbers.get(name)) for name in names]
        group = [entry.group[column] or "(empty)" for column in by]
        found.append((*group, _rows_of(entry), *cells, _told(entry), entry.folder or MISSING))
    columns = (*by, "rows", *names, "verdict", "folder")
    note = (
        "Numbers with their 95 % intervals. Each folder holds the group's fit.json, figures and report.html."
    )
    return Table("By group", columns, tuple(found), frozenset({len(by)}), frozenset(flagged), note)


def _names(entries: Sequence[GroupResult]) -> list[str]:
    """Return the numbers of the groups, the leading one first."""
    fitted = [entry for entry in entries if entry.not_fitted is None]
    names = list(dict.fromkeys(name for entry in fitted for name in _numbers(entry)))
    first = fitted[0].fit.leading.name if fitted[0].fit is not None else names[0]
    return [first, *(name for name in names if name != first)] if first in names else names


def _numbers(entry: GroupResult) -> Mapping[str, Estimate]:
    """Return the numbers with intervals of a law, or the exponents of an approach."""
    if entry.fit is not None:
        return {**entry.fit.params, **entry.fit.derived}
    return {} if entry.approach is None else entry.approach.found.exponents


def _both(number: Estimate | None) -> str:
    if number is None:
        return MISSING
    value, interval = format_interval(number)
    return f"{value} ({interval})"


def _rows_of(entry: GroupResult) -> str:
    if entry.fit is not None:
        return str(entry.fit.n)
    budgets = () if entry.approach is None else entry.approach.minima
    return str(sum(len(row.run_ids) for row in budgets) or MISSING)


def _verdict(entry: GroupResult) -> Verdict | None:
    """Return the verdict on a group; None of one that was refused."""
    if entry.fit is not None:
        return entry.fit.verdict
    return None if entry.approach is None else entry.approach.verdict


def _is_believed(entry: GroupResult) -> bool:
    verdict = _verdict(entry)
    return verdict is not None and verdict.is_believed


def _told(entry: GroupResult) -> str:
    """Return the verdict with its reasons, or why there is none."""
    if entry.fit is not None:
        return verdict_line(entry.fit)
    verdict = _verdict(entry)
    return entry.not_fitted or "" if verdict is None else verdict.words


def _head(entry: GroupResult) -> str:
    verdict = _verdict(entry)
    return "refused" if verdict is None else verdict.level


def _short_verdict(entry: GroupResult) -> str:
    verdict = _verdict(entry)
    if verdict is None:
        return "refused, below"
    n = len(verdict.doubts)
    return verdict.level + (f" ({n} {'reason' if n == 1 else 'reasons'})" if n else "")
