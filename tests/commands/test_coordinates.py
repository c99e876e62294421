"""lora-jax coordinates: muP passes where plain fails, a coupled decay is caught, mistakes are sentences."""

import json
from pathlib import Path
from typing import Any

import pytest

from lora_jax.cli import main
from lora_jax.training import parametrisation, scales

ROOT = Path(__file__).parents[2]
TINY = [
    str(ROOT / "configs" / "learning_rate.py"),
    "data.tokenizer=bytes",
    "data.seq_len=32",
    "data.heldout_tokens=1024",
    "optim.batch_size=4",
    "model.vocab_size=257",
    "model.context=32",
    "model.d_model=16",
    "model.n_heads=2",
    "model.n_layers=2",
    "optim.lr_size_exponent=0",
]
MUP = ["model.parametrisation=mup", "model.base_width=16"]


def check(arguments: list[str], out: Path) -> dict[str, Any]:
    assert main(["coordinates", *TINY, *arguments, "--out", str(out)]) == 0
    return json.loads((out / "coordinates.json").read_text())


def slopes_of(document: dict[str, Any], site: str, quantity: str) -> dict[int, tuple[float, float, float]]:
    """Return (slope, low, high) by step."""
    return {
        slope["step"]: (slope["slope"]["value"], *slope["slope"]["ci95"])
        for slope in document["slopes"]
        if (slope["site"], slope["quantity"]) == (site, quantity)
    }


@pytest.mark.slow
def test_a_check_writes_its_page_its_figure_and_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--widths", "16,24,32,40", "--steps", "1", "--late", "2"]
    document = check([*MUP, *few], tmp_path)
    assert document["widths"] == [16, 24, 32, 40]
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "figures" / "coordinates_width.png").is_file()
    assert len(document["coordinates"]) == 4 * 3 * (2 * 4 * 2 + 1)  # sizes, seeds; steps, sites, quantities
    said = capsys.readouterr().out
    assert "slope on ln width" in said
    assert "Width:" in said


@pytest.mark.slow
def test_changes_do_not_depend_on_width_under_mup_and_do_under_plain(tmp_path: Path) -> None:
    """The slopes of muP reach into 0.1 of zero from step 3 on. Those of plain do not."""
    base = ["model.d_model=64", "model.n_heads=4", "optim.batch_size=16", "optim.learning_rate=0.01"]
    few = ["--widths", "64,128,192,256", "--steps", "3,5,10", "--late", "10"]
    found = {
        "mup": check([*base, "model.parametrisation=mup", "model.base_width=64", *few], tmp_path / "mup"),
        "plain": check([*base, "model.parametrisation=plain", *few], tmp_path / "plain"),
    }
    for site in ("attention logits", "block outputs", "logits"):
        for _, low, high in slopes_of(found["mup"], site, "change").values():
            assert low < 0.1, site
            assert high > -0.1, site
    for site in ("attention logits", "block outputs"):
        for _, low, _ in slopes_of(found["plain"], site, "change").values():
            assert low > 0.1, site


@pytest.mark.slow
def test_a_decay_that_is_not_divided_out_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations of the first steps do not show it. The norms of weights do, later."""
    few = [
        *MUP,
        "optim.weight_decay=1.0",
        "optim.learning_rate=0.01",
        "--widths",
        "16,32,64,128",
        "--steps",
        "3",
        "--late",
        "150",
    ]
    right = slopes_of(check(few, tmp_path / "right"), "matrices", "growth")[150]
    own = parametrisation.parametrisation_scales
    monkeypatch.setattr(
        scales,
        "parametrisation_scales",
        lambda *given: {path: scale._replace(decay=1.0) for path, scale in own(*given).items()},
    )
    wrong = slopes_of(check(few, tmp_path / "wrong"), "matrices", "growth")[150]
    assert abs(right[0]) < 0.1
    assert wrong[0] > 0.15
    assert wrong[1] > right[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--widths", "16,32"], "--widths names 2 widths, the check needs 4 or more"),
        (["--widths", "16,32,48,50"], "multiple of 8"),
        (["--depths", "1,2"], "--depths names 2 depths"),
        (["--seeds", "2"], "--seeds"),
        (["--steps", "0"], "--steps"),
        (["--rate", "-1"], "--rate"),
        (["model.parametrisation=mup"], "base_width is not set"),
        (["model.parametrisation=mup", "model.base_width=12"], "multiple of 8"),
        (["model.parametrisation=mupp"], "nearest"),
    ],
)
def test_mistakes_are_a_sentence(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["coordinates", *TINY, *arguments, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()
