"""The table of published language models: their sizes, and what they cost to train and to serve."""

from lora_jax.report.kit.numbers import (
    MISSING,
    format_count,
    format_interval,
    format_percent,
    format_power,
)
from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.report.sizes.results import SizesReport

UNPUBLISHED = "unpublished"


def size_rows(found: SizesReport) -> Table:
    """Return model, creators, year, tokens and size as a lecture shows them, then the count of the shape."""
    rows = []
    for model in found.models:
        sizes = (model.n_tokens, model.announced_params)
        counted = model.counted
        exact = (None if counted is None else counted.n_params, model.published_params)
        rows.append(
            (
                model.model,
                model.creators,
                str(model.year),
                *(UNPUBLISHED if size is None else format_count(size) for size in sizes),
                *(UNPUBLISHED if size is None else f"{size:,}" for size in exact),
                format_percent(None if counted is None else counted.difference),
            )
        )
    columns = (
        "model",
        "creators",
        "year",
        "training tokens",
        "known as",
        "parameters",
        "published",
        "difference",
    )
    return Table(
        "How large are language models?",
        columns,
        tuple(rows),
        frozenset({3, 4, 5, 6, 7}),
        note="parameters: every weight once, counted from the shape; published: the most exact count that its"
        " makers print.",
    )


def cost_rows(found: SizesReport) -> Table:
    """Return tokens a parameter, FLOPs both ways, memory, and the loss by the law."""
    rows = []
    for model in found.models:
        counted, loss = model.counted, model.loss
        if counted is None:
            rows.append((model.model, UNPUBLISHED, *[MISSING] * 8))
            continue
        rows.append(
            (
                model.model,
                f"{counted.tokens_per_param:.3g}",
                format_power(counted.flops_6nd),
                format_power(counted.flops_exact),
                f"{counted.flops_exact / counted.flops_6nd:.2f}",
                format_bytes(counted.train_bytes),
                format_bytes(counted.serve_bytes),
                *format_interval(loss),
                MISSING if loss is None or loss.beyond is None else _show_beyond(loss.beyond),
            )
        )
    columns = (
        "model",
        "tokens/parameter",
        "FLOPs, 6ND",
        "exact",
        "ratio",
        "to train",
        "to serve",
        "loss",
        INTERVAL,
        "beyond its runs",
    )
    return Table(
        "What they cost, and the loss that Chinchilla's law gives them",
        columns,
        tuple(rows),
        frozenset({1, 2, 3, 4, 5, 6, 7, 9}),
        note=_explain(found),
    )


def remarks(found: SizesReport) -> list[str]:
    """Return every model's notes as sentences, those that several share once."""
    told: dict[str, list[str]] = {}
    for model in found.models:
        for note in model.notes:
            told.setdefault(note, []).append(model.model)
    return [f"{', '.join(models)}: {note}" for note, models in told.items()]


def format_bytes(size: float) -> str:
    """Return a size of memory with three digits, such as "1.1 TB"; powers of ten."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= 0.9995 * unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:.0f} bytes"


def _show_beyond(times: float) -> str:
    return "within" if times <= 1 else f"{times:.0f} x"


def _explain(found: SizesReport) -> str:
    law, conventions = found.law, found.conventions
    lines = [
        f"exact: {conventions.flops_exact}.",
        f"to train: {conventions.train_bytes}; to serve: {conventions.serve_bytes}.",
    ]
    if law.n_runs is not None:
        lines.append(
            f"loss: nats per token by {law.formula} ({law.reference}), fitted to {law.n_runs} runs"
            f" of {law.table}, with {law.corpus}. A masked model has none."
        )
    return " ".join(lines)
