"""The latency table as rows of text, and its numbers in words. A document: latency.json."""

from collections.abc import Mapping
from typing import Any

from lora_jax.report.numbers import MISSING, Interval, format_count
from lora_jax.report.rows import INTERVAL, Table

Document = Mapping[str, Any]


def latency_rows(document: Document) -> Table:
    """Return a row for each variant at each size: time, overhead and the paper's overhead."""
    rows = []
    for size in document["sizes"]:
        label = size["label"]
        for variant in size["variants"]:
            decimals = decimals_of(variant["time"])
            overhead, published = variant["overhead"], variant["paper_overhead"]
            rows.append((
                label,
                variant["name"],
                format_count(variant["n_added"]) if variant["n_added"] else "0",
                f"{1e3 * variant['time']['value']:.{decimals}f}",
                " to ".join(f"{1e3 * end:.{decimals}f}" for end in variant["time"]["ci95"]),
                MISSING if overhead is None else percent(overhead["value"], digits_of(overhead)),
                MISSING if overhead is None else show_ends(overhead),
                MISSING if published is None else percent(published, 1),
            ))  # fmt: skip
            label = ""
    columns = (
        "batch x sequence", "variant", "added", "ms", INTERVAL, "over base", f"{INTERVAL}, paired", "paper",
    )  # fmt: skip
    return Table(
        "One forward pass",
        columns,
        tuple(rows),
        numeric=frozenset({2, 3, 5, 7}),
        note=describe_scale(document),
    )


def describe_scale(document: Document) -> str:
    """Say what was run in place of the paper's model and sizes."""
    model, divisor = document["model"], document["divisor"]
    shape = (
        f"{format_count(document['n_params'])} parameters (width {model['d_model']}, {model['n_layers']}"
        f" layers, {model['n_heads']} heads, vocabulary {model['vocab_size']:,}), {document['dtype']}"
    )
    what = (
        f"GPT-2 medium's shape at the paper's sizes: {shape}."
        if divisor == 1
        else f"GPT-2 medium's shape with width, depth, heads and the paper's sequences divided by {divisor}"
        f" and the vocabulary by {divisor**2}: {shape}."
    )
    return (
        f"{what} Medians of {document['n_trials']} trials; each runs all variants once, in an order of its"
        " own. over base: the median of the ratios within a trial. added: parameters beside the base, the"
        " paper's |Theta| in proportion. paper: Table 1 of arXiv 2106.09685, on another device."
    )


def show_time(number: Interval) -> str:
    """Return "351.2 ms (350.9 to 351.6)"."""
    decimals = decimals_of(number)
    low, high = (f"{1e3 * end:.{decimals}f}" for end in number["ci95"])
    return f"{1e3 * number['value']:.{decimals}f} ms ({low} to {high})"


def show_overhead(number: Interval) -> str:
    """Return "+2.2 % (+2.0 to +2.4)"."""
    return f"{percent(number['value'], digits_of(number))} ({show_ends(number)})"


def show_ends(number: Interval) -> str:
    digits = digits_of(number)
    return " to ".join(percent(end, digits).removesuffix(" %") for end in number["ci95"])


def percent(fraction: float, digits: int) -> str:
    return f"{100 * fraction:+.{digits}f} %".replace("-", "\u2212")


def digits_of(number: Interval) -> int:
    """Return the decimals of a percentage: two where its interval is narrower than one percent."""
    low, high = number["ci95"]
    return 2 if high - low < 0.01 else 1


def decimals_of(number: Interval) -> int:
    """Return the decimals of milliseconds that leave four digits, at most three of them decimals."""
    milliseconds = 1e3 * number["value"]
    return next((n for n, least in enumerate((1000, 100, 10)) if milliseconds >= least), 3)
