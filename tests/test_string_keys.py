"""Results travel as types: reads by string keys may only become fewer."""

from pathlib import Path

import pytest

from tests.string_keys import count, per_thousand, reads_of

CEILING = 12.0  # reads per 1,000 lines


def test_reads_by_string_keys_become_fewer() -> None:
    reads, lines = count()
    assert per_thousand(reads.total(), lines.total()) <= CEILING, (
        "a result is read by string keys where a type would do: python -m tests.string_keys counts by room"
    )


@pytest.mark.parametrize(
    ("source", "n"),
    [
        ("x = row['loss']", 1),
        ("x = row.get('loss', 0)", 1),
        ("row['loss'] = 1", 0),  # made, not read
        ("x = row[name]", 0),
        ("x = params['blocks/attn/q']", 0),
        ("x = os.environ['HOME'], os.environ.get('HOME')", 0),
        ("def f(table: RunTable): return table['loss'], table.columns['seed'], table.columns.get('seed')", 0),
        ("def f(runs: 'RunTable | None'): return runs['loss']", 0),
        ("def f(runs: list[RunTable]): return runs['loss']", 1),
        ("x = found.columns['loss']", 1),
    ],
)
def test_what_counts_as_a_read(source: str, n: int) -> None:
    assert len(reads_of(source, Path("scaling/laws/one.py"))) == n


def test_rows_of_files_are_tables_only_where_tables_are_read() -> None:
    source = "def f(table: RunTable): return gone.row['loss'], row['loss'], table['loss']"
    assert [read.key for read in reads_of(source, Path("scaling/tables/one.py"))] == []
    assert len(reads_of(source, Path("scaling/laws/one.py"))) == 2
    assert len(reads_of(source, Path("report/one.py"))) == 3
