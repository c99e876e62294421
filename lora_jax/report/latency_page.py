"""report.html of the latency table, with its figures and latency.json beside it."""

import json
from html import escape
from pathlib import Path

from lora_jax.files import write_atomically
from lora_jax.report.figures import Drawing, save_figures
from lora_jax.report.latency_plots import plot_overhead, plot_trials
from lora_jax.report.latency_rows import Document, latency_rows
from lora_jax.report.page_shell import (
    make_document,
    show_definitions,
    show_figures,
    show_tables,
    show_warnings,
)
from lora_jax.report.settings import flatten
from lora_jax.report.tables import to_prose

QUESTION = "What does an adaptation method cost in one forward pass, and does merged LoRA cost nothing?"


def write_latency(document: Document, warnings: list[str], folder: Path) -> Path:
    """Write latency.json, figures/ and report.html into the folder; return the page's path."""
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_atomically(folder / "latency.json", text)
    drawings = draw_latency(document)
    paths = save_figures(drawings, folder / "figures")
    sections = [
        ("summary", "Summary", _summary(document, warnings)),
        ("table", "Table", show_tables(latency_rows(document))),
        ("figures", "Figures", show_figures(drawings, paths)),
        ("settings", "Settings", _settings(document)),
        ("provenance", "Provenance", _provenance(document)),
    ]
    page = folder / "report.html"
    write_atomically(page, make_document("latency", "inference latency", QUESTION, sections))
    return page


def draw_latency(document: Document) -> list[Drawing]:
    n = document["n_trials"]
    return [
        Drawing(
            "overhead", "Time over the base",
            f"Median over {n} trials of the ratio to the base within a trial, less one, with its 95 %"
            " interval. Hollow: Table 1 of the LoRA paper, GPT-2 medium on a GPU.",
            plot_overhead(document),
        ),
        Drawing(
            "trials", "Every trial",
            "Each timed pass over the median of the base's. The axes leave out the 1 % of passes furthest off"
            " on either side; no number leaves any out.",
            plot_trials(document),
        ),
    ]  # fmt: skip


def _summary(document: Document, warnings: list[str]) -> str:
    kinds = {"came out": "good", "did not come out": "bad", "is not decided": "bad"}
    words = "".join(
        f'<p class="verdict {kinds[statement["verdict"]]}">{escape(statement["claim"])}:'
        f" {statement['verdict']}.</p>\n"
        f"<p>{to_prose(statement['words'].partition('. ')[2])}</p>\n"
        for statement in document["statements"]
    )
    return f"{words}{show_warnings(warnings)}"


def _settings(document: Document) -> str:
    methods = {
        f"{size['label']}, {variant['name']}": ", ".join(
            f"{name} {value}" for name, value in flatten(variant["method"]).items()
        )
        for size in document["sizes"]
        for variant in size["variants"]
        if variant["method"] is not None
    }
    return "\n".join([
        "<h3>The model</h3>", show_definitions(flatten(document["model"]).items()),
        "<h3>The methods</h3>", show_definitions(methods.items()),
    ])  # fmt: skip


def _provenance(document: Document) -> str:
    others = document["others"]
    facts = {
        "command": document["command"], "device": document["device"],
        "git commit": document["git_commit"] or "not in a repository",
        "made": document["created_at"], "seed": str(document["seed"]),
        "trials": f"{document['n_trials']}, {document['n_untimed']} untimed passes before each timed one",
        "computed in": document["dtype"],
        "load when it began": f"{document['load_average']:.2f}",
        "cores that others kept busy": "not told by this system" if others is None else f"{others:.2f}",
        **document["versions"],
    }  # fmt: skip
    return show_definitions(facts.items())
