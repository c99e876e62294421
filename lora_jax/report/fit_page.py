"""report.html of one law fitted to one table: figures, tables, every setting, in one file."""

from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.report import fit_rows
from lora_jax.report.figures import Drawing, save_figures
from lora_jax.report.fit_figures import draw_fit_figures
from lora_jax.report.fit_words import (
    Document,
    describe,
    doubts,
    is_believed,
    notes,
    sentence,
    title_of,
    verdict_line,
)
from lora_jax.report.numbers import format_power
from lora_jax.report.page_shell import (
    make_document,
    show_definitions,
    show_figures,
    show_tables,
    show_warnings,
)
from lora_jax.report.settings import flatten
from lora_jax.report.tables import to_prose


def write_fit_report(document: Document, folder: str | Path) -> Path:
    """Write folder/figures/*.png, *.svg and folder/report.html of one fit; return the page's path.

    Each file is written atomically, the page last. Raises LoraJaxError for a results folder, whose
    report.html is that of its sweep.
    """
    folder = Path(folder)
    if (folder / "sweep.json").exists():
        raise LoraJaxError(
            f"{folder} is a results folder and its report.html shows the sweep: name another folder."
        )
    drawings = draw_fit_figures(document)
    paths = save_figures(drawings, folder / "figures")
    page = folder / "report.html"
    write_atomically(page, make_fit_page(document, drawings, paths))
    return page


def make_fit_page(document: Document, drawings: list[Drawing], paths: list[Path]) -> str:
    """Return the page. paths: the saved figures, a PNG and an SVG for each drawing in turn."""
    sections = [
        ("summary", "Summary", _summary(document)),
        ("parameters", "Parameters", show_tables(fit_rows.parameter_rows(document))),
        ("figures", "Figures", show_figures(drawings, paths)),
        ("predictions", "Predictions", show_tables(fit_rows.prediction_rows(document))),
        ("published", "Published constants", show_tables(fit_rows.difference_rows(document))),
        ("forms", "Which form?", _comparison(document)),
        ("frontier", "Frontier", show_tables(fit_rows.frontier_rows(document))),
        ("counting", "Counting", show_tables(fit_rows.convention_rows(document))),
        ("certificate", "Certificate", show_definitions(_certificate(document))),
        ("runs", "Rows", show_tables(fit_rows.run_rows(document), fit_rows.left_out_rows(document))),
        ("settings", "Settings and provenance", show_definitions(_settings(document))),
    ]
    return make_document(
        f"{document['law']} fitted to {title_of(document)}",
        "a scaling law",
        "\n".join(describe(document)),
        [section for section in sections if section[2]],
    )


def _summary(document: Document) -> str:
    kind = "good" if is_believed(document) else "bad"
    words = [sentence(d["words"]) for d in document["differences"]]
    if document["comparison"]:
        words.append(sentence(document["comparison"]["words"]))
    words += notes(document)
    said = "".join(f"<p>{to_prose(line)}</p>\n" for line in words)
    verdict = to_prose(sentence(verdict_line(document)))
    return f'<p class="verdict {kind}">{verdict}</p>\n{said}{show_warnings(doubts(document))}'


def _comparison(document: Document) -> str:
    table = show_tables(fit_rows.comparison_rows(document))
    return f"<p>{to_prose(sentence(document['comparison']['words']))}</p>\n{table}" if table else ""


def _certificate(document: Document) -> list[tuple[str, str]]:
    c = document["certificate"]
    pairs = [
        ("verdict", c["verdict"]),
        ("converged", _yes(c["converged"])),
        ("largest entry of the gradient", format_power(c["grad_norm"], 2)),
        ("share of the objective that one more step takes off", format_power(c["polish_gain"], 2)),
        ("minima within 1 % of the best", str(c["n_minima"])),
        ("condition number", format_power(c["condition_number"])),
        ("parameters at a bound", ", ".join(c["at_bound"]) or "none"),
        ("weakly identified", ", ".join(c["weakly_identified"]) or "none"),
        ("the answer is where it started", _yes(c["start_equals_answer"])),
    ]
    for kind, title in (("influence", "most influential row"), ("outliers", "outlying rows")):
        found = c[kind]
        if found is None:
            pairs.append((title, "none"))
            continue
        moved = f"without, {found['exponent']} moves by {found['shift']:+.4f}"
        pairs.append((title, f"{', '.join(found['run_ids'])}: {moved}"))
    return pairs


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def _settings(document: Document) -> list[tuple[str, str]]:
    objective, replicates = document["objective"], document["bootstrap"]
    pairs: list[tuple[str, Any]] = [
        ("command", document["command"]),
        ("table", document["table"]),
        ("law", f"{document['law']}, {document['name']}: {document['formula']}"),
        ("source of the law", document["reference"]),
        ("variables, response", f"{', '.join(document['variables'])}; {document['response']}"),
        ("unit of the response", document["loss_unit"]),
        ("N is column", document["n_column"]),
        ("C is column", document["flops_column"]),
        ("rows fitted, left out", f"{document['n']}, {len(document['left_out'])}"),
        ("clusters of rows", document["n_clusters"]),
        ("objective", f"{objective['name']}: {objective['words']} = {format_power(objective['value'], 6)}"),
        ("bootstrap", f"{replicates['kind']}, {replicates['n']} refits, {replicates['n_failed']} failed"),
        *flatten({"versions": document["versions"]}).items(),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "")]
