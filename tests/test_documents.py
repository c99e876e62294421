"""The comparison of documents sees every kind of difference, and nothing smaller than its tolerance."""

from typing import Any

import pytest

from tests.documents import assert_documents_agree

DOCUMENT = {"n": 3, "words": "believe it", "ci95": [0.25, None, 1.5], "inside": True, "loss": {"value": 2.5}}


def changed(**fields: Any) -> dict[str, Any]:
    return {**DOCUMENT, **fields}


def test_rounding_agrees() -> None:
    assert_documents_agree(changed(loss={"value": 2.5 * (1 + 1e-15)}), DOCUMENT, rel=1e-12)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 4},
        {"n": 3.0},
        {"words": "be careful"},
        {"ci95": [0.25, None]},
        {"ci95": [0.25, 0.5, 1.5]},
        {"ci95": [0.25, None, 1.5 + 1e-9]},
        {"inside": False},
        {"inside": 1},
        {"loss": {}},
        {"loss": None},
        {"loss": {"value": float("nan")}},
        {"another": 1},
    ],
    ids=repr,
)
def test_a_difference_is_named_by_its_place(fields: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="document"):
        assert_documents_agree(changed(**fields), DOCUMENT, rel=1e-12)
