"""Numbers, and texts for numbers, that a user may give by mistake or on purpose."""

from hypothesis import strategies as st

EDGES = (
    0, -1, 1, 2, 3, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 10**12, 10**18, 10**400, -(10**400), 0.0, -0.0,
    0.5, 1.0, 1.5, 2.0, 1e-5, 1e-320, 1e-30, 1e12, 1e100, 1e308, -1e308, float("nan"),
    float("inf"), float("-inf"),
)  # fmt: skip
ODD = (
    "", " ", "nan", "-nan", "inf", "-inf", "Infinity", "1e400", "-1e400", "1e308", "1e12", "9" * 5000,
    "-" + "9" * 5000, "0x10", "1_000", "1,000", "1.5.2", "1e", "--", "-", "+", "1/2", "1 2",
    "\u0663", "\u00bd", "\u2212" + "5",
    "1e-400", "70B", "1.4T", "none", "None", "true", "x", "\u221e", "1j", "[1]", "0" * 400 + "1",
    "$x$", "%s", "{}",
)  # fmt: skip
NUMBERS = st.one_of(
    st.sampled_from(EDGES),
    st.integers(),
    st.floats(),
    st.integers(-10, 100),
    st.floats(0, 1),
    st.sampled_from([None, True, "8", "", (), [1], {}, 1j, b"1", float]).filter(lambda v: v is not None),
)
TEXTS = st.one_of(
    st.sampled_from(ODD),
    st.sampled_from(EDGES).map(lambda edge: spell(edge)),
    st.integers().map(str),
    st.integers(-10, 100).map(str),
    st.floats().map(repr),
    st.floats(0, 1).map(repr),
)


def spell(value: float) -> str:
    """Return a number as it is typed: an integer by all of its digits."""
    return f"{value:g}" if isinstance(value, float) else str(value)
