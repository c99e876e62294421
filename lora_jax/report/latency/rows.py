"""The latency table as rows of text, and its numbers in words."""

from lora_jax.report.kit.numbers import MISSING, format_count, format_percent
from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.report.latency.results import LatencyTable, Median


def latency_rows(table: LatencyTable) -> Table:
    """Return a row for each variant at each size: time, overhead and the paper's overhead."""
    rows = []
    for size in table.sizes:
        for variant in size.variants:
            decimals = decimals_of(variant.time)
            overhead, published = variant.overhead, variant.paper_overhead
            rows.append(
                (
                    size.label,  # in every row: a reader may sort them
                    variant.name,
                    format_count(variant.n_added) if variant.n_added else "0",
                    f"{1e3 * variant.time.value:.{decimals}f}",
                    " to ".join(f"{1e3 * end:.{decimals}f}" for end in variant.time.ci95),
                    MISSING
                    if overhead is None
                    else format_percent(overhead.value, decimals=digits_of(overhead)),
                    MISSING if overhead is None else show_ends(overhead),
                    MISSING if published is None else format_percent(published, decimals=1),
                )
            )
    columns = (
        "batch x sequence",
        "variant",
        "added",
        "ms",
        INTERVAL,
        "over base",
        f"{INTERVAL}, paired",
        "paper",
    )
    return Table(
        "One forward pass",
        columns,
        tuple(rows),
        numeric=frozenset({2, 3, 5, 7}),
        note=describe_scale(table),
    )


def describe_scale(table: LatencyTable) -> str:
    """Say what was run in place of the paper's model and sizes."""
    shape, divisor = table.shape, table.divisor
    model = (
        f"{format_count(table.n_params)} parameters (width {shape.d_model}, {shape.n_layers}"
        f" layers, {shape.n_heads} heads, vocabulary {shape.vocab_size:,}), {table.dtype}"
    )
    what = (
        f"GPT-2 medium's shape at the paper's sizes: {model}."
        if divisor == 1
        else f"GPT-2 medium's shape with width, depth, heads and the paper's sequences divided by {divisor}"
        f" and the vocabulary by {divisor**2}: {model}."
    )
    return (
        f"{what} Medians of {table.n_trials} trials; each runs all variants once, in an order of its"
        " own. over base: the median of the ratios within a trial. added: parameters beside the base, the"
        " paper's |Theta| in proportion. paper: Table 1 of arXiv 2106.09685, on another device."
    )


def show_time(number: Median) -> str:
    """Return "351.2 ms (350.9 to 351.6)"."""
    decimals = decimals_of(number)
    low, high = (f"{1e3 * end:.{decimals}f}" for end in number.ci95)
    return f"{1e3 * number.value:.{decimals}f} ms ({low} to {high})"


def show_overhead(number: Median) -> str:
    """Return "+2.2 % (+2.0 to +2.4)"."""
    return f"{format_percent(number.value, decimals=digits_of(number))} ({show_ends(number)})"


def show_ends(number: Median) -> str:
    digits = digits_of(number)
    return " to ".join(format_percent(end, decimals=digits).removesuffix(" %") for end in number.ci95)


def digits_of(number: Median) -> int:
    """Return the decimals of a percentage: two where its interval is narrower than one percent."""
    return 2 if number.high - number.low < 0.01 else 1


def decimals_of(number: Median) -> int:
    """Return the decimals of milliseconds that leave four digits, at most three of them decimals."""
    milliseconds = 1e3 * number.value
    return next((n for n, least in enumerate((1000, 100, 10)) if milliseconds >= least), 3)
