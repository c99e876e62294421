"""Groups of a table: every row in one, names that any file system takes, conditions that choose the rows."""

from dataclasses import replace
from pathlib import Path

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.groups import Group, folder_names, groups_of
from lora_jax.scaling.tables.table import RunTable, make_table, read_table


def _table() -> RunTable:
    table = make_table("t", n_params=[1e6, 1e6, 2e6, 2e6], loss=[3.0, 3.1, 2.9, 2.8], lr=[0.1, 0.2, 0.1, 0.2])
    return replace(table, labels={"data": ("b", "a", "b", "")})


def test_groups_come_in_the_order_of_the_rows_by_text_and_by_number() -> None:
    assert [g.values for g in groups_of(_table(), ["data"])] == [("b",), ("a",), ("",)]
    assert [g.values for g in groups_of(_table(), ["lr", "N"])] == [
        ("0.1", "1000000"),
        ("0.2", "1000000"),
        ("0.1", "2000000"),
        ("0.2", "2000000"),
    ]


def test_rows_that_were_left_out_have_their_groups_too() -> None:
    found = groups_of(_table(), ["lr"], [("0.10",), ("1e-1",), ("0.2",), ("0.3",), ("0.30",)])
    assert [g.values for g in found] == [("0.1",), ("0.2",), ("0.3",)]


def test_folders_have_safe_names_none_twice() -> None:
    values = ["a/b", "a b", "A-B", "..", "", "figures", "x" * 200, "x" * 201, "\u00e9", "con\n"]
    names = folder_names([Group(("c",), (value,)) for value in values])
    assert len({name.lower() for name in names}) == len(values)
    for name in names:
        assert name[0] not in ".-"
        assert len(name) < 70
        assert name.isascii()
        assert not set(name) & set("/\\ \n")
    assert [name[:4] for name in names[:3]] == ["a-b-", "a-b-", "A-B-"]
    assert names[5] != "figures"
    assert folder_names([Group(("c",), ("a/b",)), Group(("c",), ("c",))]) == ["a-b", "c"]


def test_a_groups_conditions_read_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('set=x,n_params,loss\n"a=b, c",1e6,3\n<5,1e6,2.9\n,2e6,2.8\n"a=b, c",2e6,2.7\n')
    table = read_table(path)
    sizes = [len(read_table(path, where=group.conditions)) for group in groups_of(table, ["set=x"])]
    assert sizes == [2, 1, 1]


def test_mistakes_are_named() -> None:
    with pytest.raises(LoraJaxError, match="nearest: 'data'"):
        groups_of(_table(), ["dat"])
    with pytest.raises(LoraJaxError, match="'lr' twice"):
        groups_of(_table(), ["lr", "lr"])
