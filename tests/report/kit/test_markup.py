"""A number and its percent sign stand in one line, whatever writes them; what is typed stays as it is."""

from pathlib import Path

import pytest

from lora_jax.report.kit import style
from lora_jax.report.kit.drawing import Drawing, save_figures
from lora_jax.report.kit.marks import name_marks, to_inline
from lora_jax.report.kit.markup import NO_BREAK, keep_together, to_markup
from lora_jax.report.kit.page_shell import (
    make_document,
    show_definitions,
    show_figures,
    show_sentences,
    show_warnings,
)
from lora_jax.report.kit.tables import Table, to_html, to_prose

SAID = "off by +0.03 % (95 % interval)"
KEPT = f"off by +0.03{NO_BREAK}% (95{NO_BREAK}% interval)"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (SAID, KEPT),
        ("\u22123 %", f"\u22123{NO_BREAK}%"),
        ("5. %", f"5.{NO_BREAK}%"),
        ("a % b, 5  % and 5%", "a % b, 5  % and 5%"),
    ],
)
def test_a_number_keeps_its_sign(text: str, kept: str) -> None:
    assert keep_together(text) == kept
    assert keep_together(kept) == kept


def test_words_are_escaped_too() -> None:
    assert to_markup('a < 5 % & "b"') == f"a &lt; 5{NO_BREAK}% &amp; &quot;b&quot;"


def test_every_part_of_a_page_keeps_them_together() -> None:
    table = Table(SAID, (SAID, "b"), ((SAID, "12 %"),), numeric=frozenset({1}), note=SAID)
    whole = make_document(SAID, SAID, f"{SAID}?", [("a", SAID, "<p>x</p>")], "")
    lists = [show_sentences([SAID] * 9), show_warnings([SAID] * 9), show_definitions([(SAID, SAID)])]
    for page in (to_prose(SAID), to_html(table), *lists, whole):
        assert NO_BREAK in page
        assert " %" not in page.split("<style>")[0] + page.split("</style>")[-1].split("<script>")[0]


def test_what_is_typed_stays_as_it_is() -> None:
    assert to_prose("run `fit --where 'a = 5 %'`") == "run <code>fit --where &#x27;a = 5 %&#x27;</code>"
    assert "<pre>fit --where 5 %</pre>" in make_document("name", "kind", "fit --where 5 %", [], "")


def test_words_of_points_captions_and_titles_of_figures_keep_them_together(tmp_path: Path) -> None:
    figure, [ax] = style.new_figure()
    [marks] = ax.plot([1], [1], "o")
    name_marks(marks, [SAID])
    drawing = Drawing("f", f"Words {'of a length ' * 5}until the 95 % interval", SAID, figure)
    saved = save_figures([drawing], tmp_path)
    svg = saved[0].svg.read_text()
    assert f"<title>{KEPT}</title>" in svg
    assert f'aria-label="{KEPT}"' in to_inline(svg, "f", SAID)
    assert KEPT in show_figures([drawing], saved)
    assert "%" not in [line[0] for line in figure.get_suptitle().split("\n")]
