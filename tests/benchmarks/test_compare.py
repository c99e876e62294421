"""Then and now: what is worse, what is noise, and which files cannot be compared."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import compare, find_missing, make_change_table, read_baseline
from benchmarks.figures import FORMAT, Figure, Provenance, Row, Section, to_json
from lora_jax.errors import LoraJaxError

DEVICE = "cpu: x86_64, 2 cores"


def sections(**ratios: tuple[float, ...]) -> list[Section]:
    """A section with a row for each name; those that begin with "less" are better when they are less."""
    rows = [
        Row(
            name,
            {},
            (
                Figure("time", "s", (1.0, 2.0)),
                Figure("ratio", "ratio", samples, better="less" if name.startswith("less") else "more"),
            ),
        )
        for name, samples in ratios.items()
    ]
    return [Section("demo", "A demonstration", tuple(rows))]


def write(path: Path, measured: list[Section], device: str = DEVICE, **changes: object) -> Path:
    provenance = Provenance("./launch.sh bench", device, {"jax": "1"}, None, 0.1, 0.0)
    path.write_text(json.dumps(to_json(provenance, measured) | changes))
    return path


@pytest.mark.parametrize(
    ("name", "before", "now", "verdict", "factor"),
    [
        ("more", (1.0, 1.01, 1.02), (0.7, 0.71, 0.72), "worse", 0.71 / 1.01),
        ("more", (0.7, 0.71, 0.72), (1.0, 1.01, 1.02), "better", 1.01 / 0.71),
        ("less", (1.0, 1.01, 1.02), (1.4, 1.41, 1.42), "worse", 1.01 / 1.41),
        ("less", (1.4, 1.41, 1.42), (1.0, 1.01, 1.02), "better", 1.41 / 1.01),
        ("more", (1.0, 1.01, 1.02), (0.94, 0.95, 0.96), "same", 0.95 / 1.01),  # apart, but by little
        ("more", (0.5, 1.0, 1.5), (0.3, 0.7, 1.3), "same", 0.7),  # by much, but within the noise
    ],
)
def test_worse_is_both_beyond_the_tolerance_and_beyond_the_noise(
    tmp_path: Path, name: str, before: tuple[Any, ...], now: tuple[Any, ...], verdict: str, factor: float
) -> None:
    old = read_baseline(write(tmp_path / "old.json", sections(**{name: before})), DEVICE)
    (change,) = compare(old, sections(**{name: now}))
    assert change.verdict == verdict
    assert change.factor == pytest.approx(factor)


def test_seconds_are_not_compared_and_what_is_missing_is_told(tmp_path: Path) -> None:
    old = read_baseline(write(tmp_path / "old.json", sections(a=(1.0,), gone=(2.0,))), DEVICE)
    assert set(old) == {("demo", "a", "ratio"), ("demo", "gone", "ratio")}
    measured = sections(a=(0.5,), new=(1.0,))
    changes, missing = compare(old, measured), find_missing(old, measured)
    assert missing == [("demo", "gone", "ratio")]
    table = make_change_table(changes, missing)
    assert table.rows == (("demo: a", "ratio", "1.00", "0.500", "0.50", "worse"),)
    assert table.flagged == {0}
    assert "demo, gone, ratio" in table.note
    other = [Section("other", "Another", measured[0].rows)]
    assert find_missing(old, other) == [], "a section that was not run is not missing"
    with pytest.raises(LoraJaxError, match="nothing that was measured, other,"):
        compare(old, other)


def test_files_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LoraJaxError, match=f"has format 1, this benchmark reads and writes {FORMAT}"):
        read_baseline(write(tmp_path / "old.json", [], format=1), DEVICE)
    with pytest.raises(LoraJaxError, match=r"on '1 x NVIDIA H100' and this is 'cpu: x86_64, 2 cores'"):
        read_baseline(write(tmp_path / "gpu.json", [], device="1 x NVIDIA H100"), DEVICE)
    for text, said in (("{", "is no JSON"), ("{}", "no file of the benchmark"), ("[]", "no file of the")):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(LoraJaxError, match=said):
            read_baseline(tmp_path / "broken.json", DEVICE)
    with pytest.raises(LoraJaxError, match="cannot be read"):
        read_baseline(tmp_path / "none.json", DEVICE)
