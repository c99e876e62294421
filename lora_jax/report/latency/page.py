"""report.html of the latency table, with its figures and latency.json beside it."""

from pathlib import Path

from lora_jax.identity import flatten
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.markup import to_markup
from lora_jax.report.kit.page_files import write_page
from lora_jax.report.kit.page_shell import (
    make_document,
    show_definitions,
    show_tables,
    show_warnings,
)
from lora_jax.report.kit.sources import show_sources
from lora_jax.report.kit.tables import to_prose
from lora_jax.report.latency.documents import load_latency, save_latency
from lora_jax.report.latency.doubts import doubts_of
from lora_jax.report.latency.plots import plot_overhead, plot_trials
from lora_jax.report.latency.results import CAME_OUT, DID_NOT, UNDECIDED, LatencyTable, Statement
from lora_jax.report.latency.rows import latency_rows

QUESTION = "What does an adaptation method cost in one forward pass, and does merged LoRA cost nothing?"


def write_latency(table: LatencyTable, folder: Path) -> Path:
    """Write latency.json, figures/ and report.html into the folder; return the page's path."""
    save_latency(folder, table)
    sources = show_sources(folder, table.command, "docs/latency.md")
    return write_page(folder, draw_latency(table), lambda figures: make_latency_page(table, figures, sources))


def redraw(folder: Path) -> Path:
    """Write the figures and the page of a folder again, from its latency.json."""
    return write_latency(load_latency(folder), folder)


def make_latency_page(table: LatencyTable, figures: str, sources: str) -> str:
    """Make the page of a latency table; `figures` and `sources` are HTML."""
    sections = [
        ("summary", "Summary", _summary(table)),
        ("table", "Table", show_tables(latency_rows(table))),
        ("figures", "Figures", figures),
        ("settings", "Settings", _settings(table)),
        ("provenance", "Provenance", _provenance(table)),
    ]
    return make_document("latency", "inference latency", QUESTION, sections, sources)


def draw_latency(table: LatencyTable) -> list[Drawing]:
    n = table.n_trials
    return [
        Drawing(
            "overhead",
            "Time of each variant over that of the base",
            f"Median over {n} trials of the ratio to the base within a trial, less one, with its 95 %"
            " interval. Hollow: Table 1 of the LoRA paper, GPT-2 medium on a GPU.",
            plot_overhead(table),
        ),
        Drawing(
            "trials",
            "Time of every trial over the base's median",
            "A row for each batch x sequence, a panel for each variant, with the median of its trials."
            " The axes leave out the 1 % of passes furthest off on either side; no number leaves any out.",
            plot_trials(table),
        ),
    ]


def _summary(table: LatencyTable) -> str:
    kinds = {CAME_OUT: "verdict good", DID_NOT: "verdict bad", UNDECIDED: "verdict"}
    words = "".join(
        f'<p class="{kinds[statement.verdict]}">{_judge(statement)}</p>\n'
        f"<p>{to_prose(statement.words.partition('. ')[2])}</p>\n"
        for statement in table.statements
    )
    return f"{words}{show_warnings(doubts_of(table))}"


def _judge(statement: Statement) -> str:
    """Return a claim with its verdict before it, as HTML, such as "Came out: merged LoRA costs nothing."."""
    verdict = {CAME_OUT: "Came out", DID_NOT: "Did not come out", UNDECIDED: "Not decided"}
    return f"{verdict[statement.verdict]}: {to_markup(statement.claim)}."


def _settings(table: LatencyTable) -> str:
    methods = {
        f"{size.label}, {variant.name}": ", ".join(
            f"{name} {value}" for name, value in flatten(variant.method).items()
        )
        for size in table.sizes
        for variant in size.variants
        if variant.method is not None
    }
    return "\n".join(
        [
            "<h3>The model</h3>",
            show_definitions(flatten(table.model).items()),
            "<h3>The methods</h3>",
            show_definitions(methods.items()),
        ]
    )


def _provenance(table: LatencyTable) -> str:
    others = table.others
    facts = {
        "command": table.command,
        "device": table.device,
        "git commit": table.git_commit or "not in a repository",
        "made": table.created_at,
        "seed": str(table.seed),
        "trials": f"{table.n_trials}, {table.n_untimed} untimed passes before each timed one",
        "computed in": table.dtype,
        "load when it began": f"{table.load_average:.2f}",
        "cores that others kept busy": "not told by this system" if others is None else f"{others:.2f}",
        **table.versions,
    }
    return show_definitions(facts.items())
