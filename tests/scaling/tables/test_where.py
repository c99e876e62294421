"""Conditions: what they mean, cell by cell, and what a faulty one is told."""

import operator
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.table import read_table
from lora_jax.scaling.tables.where import parse_condition

COLUMNS = ["dataset", "tok_mult", "name", "size", "Training FLOP", "d=model", "loss in nats"]


@pytest.mark.parametrize(
    ("text", "cell", "holds"),
    [
        ("dataset=rpj", "rpj", True),
        ("dataset = rpj", "rpj", True),
        ("dataset==rpj", "rpj2", False),
        ("dataset=RPJ", "rpj", False),
        ("tok_mult=20", "20.0", True),  # numbers, not texts
        ("tok_mult=20", "2e1", True),
        ("tok_mult!=20", "20.0", False),
        ("tok_mult>=20", "100", True),  # as texts, "100" < "20"
        ("tok_mult<1e3", "", False),  # an empty cell has no order
        ("tok_mult<1e3", "nan", False),
        ("name!=x", "", True),
        ("name~^d=[0-9]+_l", "d=96_l=8", True),
        ("name~8$", "d=96_l=8_h=4", False),
        ("size in 1,2,3", "2.0", True),
        ("size in 1,2,3", "12", False),
        ("size in a, b", "b", True),
        ("Training FLOP<1e20", "9e19", True),
        ("d=model>3", "4", True),  # the column is d=model
        ("loss in nats>3", "4", True),
        ("name=a=b", "a=b", True),
    ],
)
def test_what_a_condition_means(text: str, cell: str, holds: bool) -> None:
    assert parse_condition(text, COLUMNS, "t").holds(cell) is holds


def test_orders_agree_with_python_on_numbers() -> None:
    orders = {
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "=": operator.eq,
        "!=": operator.ne,
    }
    values = np.random.default_rng(0).integers(-5, 5, 40) / 2
    for sign, order in orders.items():
        for a, b in zip(values[::2], values[1::2], strict=True):
            assert parse_condition(f"size{sign}{b}", COLUMNS, "t").holds(repr(float(a))) is bool(order(a, b))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset", "compares nothing"),
        ("=3", "compares nothing"),
        ("datset=rpj", r"no column 'datset' \(nearest: 'dataset'\)"),
        ("size>big", "'big', which is not a number"),
        ("size>nan", "'nan', which is not a number"),
        ("name~((", "no regular expression"),
    ],
)
def test_a_faulty_condition_gets_one_sentence(text: str, message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        parse_condition(text, COLUMNS, "t")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    rows = [f"{'ab'[i % 2]},{i + 1}e6,{(i + 1) * 6}e12,{4 - i / 10}" for i in range(6)]
    path.write_text("data,Size,flops,final\n" + "\n".join(rows) + "\n")
    return path


MAP = {"n_params": "Size", "loss": "final"}


def test_conditions_take_names_of_the_file_of_the_table_and_derived_ones(file: Path) -> None:
    for where in (
        ["Size>=3e6"],
        ["n_params>=3e6"],
        ["N>=3e6"],
        ["flops>=18e12"],
        ["loss<=3.8"],
        ["final<=3.8"],
    ):
        assert read_table(file, MAP, where=where).run_ids == ("row 4", "row 5", "row 6", "row 7")
    # D is derived, and the same for all
    assert len(read_table(file, MAP, where=["n_tokens<=1.0001e6", "D>=0.9999e6"])) == 6


def test_all_must_hold_and_the_rows_removed_say_why(file: Path) -> None:
    table = read_table(file, MAP, where=["data=a", "Size>1e6", "C<30e12"], drop_worst=0)
    assert table.run_ids == ("row 4",)
    reasons = {gone.run_id: gone.reason for gone in table.left_out}
    assert reasons == {
        "row 3": "not data=a",
        "row 5": "not data=a",
        "row 7": "not data=a",
        "row 2": "not Size>1e6",
        "row 6": "not C<30e12",
    }


def test_filters_commute(file: Path) -> None:
    both = ["data=b", "D>0", "Size<6e6"]
    ids = {read_table(file, MAP, where=order).run_ids for order in (both, both[::-1], both[1:] + both[:1])}
    assert ids == {("row 3", "row 5")}


def test_an_empty_filter_names_the_condition_that_removed_the_last_rows(file: Path) -> None:
    for where, words in (
        (
            ["data=a", "Size>1e9"],
            r"'Size>1e9' has removed the last 3, where 'Size' is 1e\+06, 3e\+06, 5e\+06",
        ),
        (["Size>0", "data=c", "Size>1e9"], r"'data=c' has removed the last 6, where 'data' is 'a', 'b'"),
        (["data=a", "D>1e12"], r"'D>1e12' has removed the last 3"),
    ):
        with pytest.raises(LoraJaxError, match=words):
            read_table(file, MAP, where=where)


def test_the_worst_are_dropped_after_the_filter(file: Path) -> None:
    table = read_table(file, MAP, where=["data=a"], drop_worst=2)
    assert table.run_ids == ("row 6",)
    assert [gone.reason for gone in table.left_out][-2:] == ["among the 2 largest losses"] * 2
    for k in (-1, 6, 7):
        with pytest.raises(LoraJaxError, match=f"has 6 runs to drop {k}"):
            read_table(file, MAP, drop_worst=k)
