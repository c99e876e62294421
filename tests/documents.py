"""Two JSON documents compared: the same words, and numbers within a tolerance that the test states."""

import math
from typing import Any


def assert_documents_agree(found: Any, expected: Any, *, rel: float, where: str = "document") -> None:
    """Raise AssertionError at the first place where two trees of JSON values disagree.

    Numbers agree within `rel` times the larger of the two. Everything else must be equal: keys, lengths,
    words, booleans, nulls, and which numbers are whole.
    """
    if isinstance(expected, dict):
        assert isinstance(found, dict), f"{where}: {found!r} is no object"
        assert found.keys() == expected.keys(), f"{where}: keys {found.keys() ^ expected.keys()}"
        for key in expected:
            assert_documents_agree(found[key], expected[key], rel=rel, where=f"{where}.{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list), f"{where}: {found!r} is no list"
        assert len(found) == len(expected), f"{where}: {len(found)} entries, expected {len(expected)}"
        for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            assert_documents_agree(ours, theirs, rel=rel, where=f"{where}[{i}]")
    elif isinstance(expected, float) and isinstance(found, float):
        assert math.isclose(found, expected, rel_tol=rel), f"{where}: {found!r}, expected {expected!r}"
    else:
        assert type(found) is type(expected), f"{where}: {found!r}, expected {expected!r}"
        assert found == expected, f"{where}: {found!r}, expected {expected!r}"
