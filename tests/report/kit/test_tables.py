"""Prose as HTML, and settings that runs share or that differ."""

from lora_jax.report.kit.settings import split_settings
from lora_jax.report.kit.tables import to_prose


def test_prose_raises_powers_and_escapes():
    assert to_prose("N^\u22120.069 (a < b), C^0.5.") == "N<sup>\u22120.069</sup> (a &lt; b), C<sup>0.5</sup>."


def test_prose_shows_what_is_in_backticks_as_code():
    assert to_prose("Run `fit --law <N^2>` again, `x.") == (
        "Run <code>fit --law &lt;N^2&gt;</code> again, `x."
    )


def test_settings_are_split_into_common_and_swept():
    common, swept = split_settings(
        {"a": {"m": {"x": 1, "y": None}, "z": "s"}, "b": {"m": {"x": 2, "y": None}, "z": "s", "new": True}}
    )
    assert common == {"m.y": "null", "z": "s"}
    assert swept == {"m.x": {"a": "1", "b": "2"}, "new": {"a": "\u2013", "b": "true"}}
