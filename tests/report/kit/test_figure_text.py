"""Figures show what somebody called a thing as it is written, whatever it is; our mathematics stays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text

from lora_jax.cli import main
from lora_jax.comparison.documents import comparison_from_document, comparison_to_document
from lora_jax.comparison.folder import write_comparison
from lora_jax.report.incontext.page import draw_incontext
from lora_jax.report.kit import style
from lora_jax.report.kit.drawing import save_figures
from lora_jax.report.kit.figure_text import LONGEST_NAME, Maths, name_of, readable
from lora_jax.report.methods.page import draw_methods, read_method_results
from tests.report.incontext.test_page import folder as _incontext_folder
from tests.report.method_folder import make_records, write_folder

NAMES = (
    "$x^$", "$\\frac{$", "a$b$c", "cost in $ and $", "\\$5", "_private", "__init__", "_child3", "x" * 400,
    "a\nb\tc\0d\x1b[31m", "\u6a21\u578b", "\U0001f680", "\u05e9\u05dc\u05d5\u05dd", "\u202eabc", "\ud800", "",
    "  ", "%s {x} <b>", "$10^{3}$", "caf\u00e9", "e\u0301",
)  # fmt: skip
MATHS = Maths("$\\alpha_N$ = 0.3")


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Return a document with other names in the places of those in `names`."""
    if isinstance(value, dict):
        return {names.get(key, key): renamed(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [renamed(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


def texts(figure: Any) -> Iterator[Text]:
    return (text for text in figure.findobj(Text) if text.get_text())


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_drawn_everywhere_in_a_figure(name: str, tmp_path: Path) -> None:
    figure, [ax] = style.new_figure()
    ax.plot([1e19, 1e20], [3, 4], label=name_of(name))
    ax.plot([1e19, 1e20], [4, 3], label=MATHS)
    ax.set_xlabel(name)
    ax.set_ylabel(name)
    ax.set_title(name)
    ax.text(1e19, 3, name)
    ax.annotate(name, (1e19, 3))
    ax.set_yticks([3, 4], [name, name])
    style.set_flops_axis(ax, 1e18, 1e21, name)
    style.add_legend(figure)
    figure.draw_without_rendering()
    if name in NAMES[::7]:
        assert len(style.save_figure(figure, tmp_path, "f")) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [name_of(name), MATHS]
    for text in texts(figure):
        assert text.get_parse_math() == isinstance(text.get_text(), Maths), text.get_text()
        assert len(text.get_text()) <= 160
    ticks = [text for text in ax.get_xticklabels() if text.get_text()]
    assert "$10^{19}$" in [text.get_text() for text in ticks]


def test_names_that_can_be_drawn_stay_as_they_are() -> None:
    for name in ("$x^$", "a$b$c", "caf\u00e9", "LoRA r=8, q+v", "\u03b1"):
        assert name_of(name) == readable(name) == name
    assert name_of("_private").strip() == "_private"
    assert readable("\u6a21A") == "\\u6a21A"
    assert readable("\u202eabc") == "abc"


def test_a_long_name_keeps_both_its_ends() -> None:
    cut = name_of("begin" + "x" * 400 + "end")
    assert len(cut) == LONGEST_NAME
    assert cut.startswith("begin")
    assert cut.endswith("end")


def test_every_figure_of_methods_takes_any_label(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "r", make_records(40))
    write_comparison(folder)
    results = read_method_results(folder)
    labels = [method.label for method in results.found.methods]
    document = comparison_to_document(results.found)
    found = comparison_from_document(renamed(document, dict(zip(labels, NAMES, strict=False))))
    save_figures(list(draw_methods(found, results.curves)), tmp_path)


incontext = pytest.fixture(scope="module")(_incontext_folder.__wrapped__)  # pyright: ignore


def test_every_figure_in_context_takes_any_label(incontext: Path, tmp_path: Path) -> None:
    from lora_jax.report.incontext.page import read_incontext_results

    results = read_incontext_results(incontext)
    names: dict[str, str] = dict(zip(("T<1>", "lm", "encoder", "LoRA r 8"), NAMES, strict=False))
    found, backward = renamed([results.found, results.backward], names)
    save_figures(list(draw_incontext(found, backward)), tmp_path)


@pytest.mark.parametrize("marks", [("$x^$", "_"), pytest.param(("_", "$a$"), marks=pytest.mark.slow)])
def test_a_tables_columns_and_runs_may_hold_dollars(
    marks: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loss, size = f"loss {marks[0]}", f"{marks[1]} size"
    rows = "".join(
        f"{marks[0]}run{i}_{marks[1]},{2.0**i * 1e6:g},{5 * 2 ** (-0.1 * i):.6g}\n" for i in range(9)
    )
    (tmp_path / "t.csv").write_text(f"run_id,{size},{loss}\n{rows}")
    command = ["fit", str(tmp_path / "t.csv"), "--law", "power", "--of", size, "--response", loss]
    status = main([*command, "--bootstrap", "20", "--out", str(tmp_path / "o")])
    assert status == 0, capsys.readouterr().err
    assert (tmp_path / "o" / "report.html").exists()
