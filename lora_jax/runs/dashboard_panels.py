"""The panels of a sweep's dashboard, by section.

They read what our runs log, under the names of metric_names.
"""

from dataclasses import dataclass
from typing import Any

from lora_jax.runs import fit_tables
from lora_jax.runs.metric_names import (
    DEV,
    FIGURES,
    FITS,
    FLOPS,
    HELDOUT_LOSS,
    LOSS,
    METHODS,
    N_TOKENS,
    of_record,
    of_row,
)

SCATTER = "wandb/scatter/v0"  # wandb's own chart of two columns of a table
HALF, WHOLE = 12, 24  # widths in a report, whose grid is 24 columns wide
HIGH = 10


@dataclass(frozen=True)
class Contents:
    """What a sweep has to show.

    Attributes:
        is_finetuning: Does it compare methods, rather than fit laws?
        has_sources: Is its text a mixture, so that each source has a held-out loss?
        figures: Names of its figures, without an ending.
    """

    is_finetuning: bool
    has_sources: bool
    figures: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """Panels that belong together.

    Attributes:
        title: Their title.
        words: A sentence about what they show.
        panels: The panels.
    """

    title: str
    words: str
    panels: list[Any]


def make_sections(contents: Contents) -> list[Section]:
    """Return new panels for a workspace or a report."""
    found = [_losses(contents)]
    found += [_methods(contents)] if contents.is_finetuning else [_final_losses(), _fits(contents)]
    return [*found, _training(), _speed(), _compare()]


def _losses(contents: Contents) -> Section:
    import wandb_workspaces.reports.v2.interface as wr

    panels = [
        _curve(title, y, x, log_y=True)
        for y, title in ((LOSS, "Training loss"), (HELDOUT_LOSS, "Held-out loss"))
        for x in (N_TOKENS, FLOPS)
    ]
    patterns = [f"^{HELDOUT_LOSS}/"] * contents.has_sources + [f"^{DEV}"] * contents.is_finetuning
    panels += [
        wr.LinePlot(
            title=pattern[1:].rstrip("/"), x=N_TOKENS, metric_regex=pattern, log_x=True, layout=_layout()
        )
        for pattern in patterns
    ]
    return Section("Loss", "Loss against tokens and training FLOPs. A color is a size of model.", panels)


def _final_losses() -> Section:
    import wandb_workspaces.reports.v2.interface as wr

    axes = [
        ("Parameters", wr.SummaryMetric(of_record("n_params"))),
        ("Training tokens", wr.SummaryMetric(of_record("n_tokens"))),
        ("Training FLOPs", wr.SummaryMetric(of_record("flops_exact"))),
        ("Learning rate", wr.Config("optim.learning_rate")),
    ]
    panels = [
        wr.ScatterPlot(
            title=f"Final held-out loss: {title.lower()}",
            x=x,
            y=wr.SummaryMetric(of_record(HELDOUT_LOSS)),
            log_x=True,
            log_y=True,
            layout=_layout(),
        )
        for title, x in axes
    ]
    words = "A point is a run. The last panel is the sweep over the base learning rate."
    return Section("Sizes and learning rates", words, panels)


def _fits(contents: Contents) -> Section:
    panels = [*_figures(contents)]
    panels += [
        _table_scatter("Residuals", fit_tables.RESIDUALS, fit_tables.FITTED, fit_tables.RESIDUAL),
        _table_scatter("Held-out cell", fit_tables.HELDOUT, fit_tables.PREDICTED, fit_tables.MEASURED),
    ]
    panels += [_table(f"{FITS}{name}") for name in (fit_tables.HELDOUT, fit_tables.EXPONENTS)]
    words = (
        "The fitted laws over the runs, what they miss, and the largest cell, which no fit has seen."
        " A residual is ln of measured over fitted loss."
    )
    return Section("Fits", words, panels)


def _methods(contents: Contents) -> Section:
    return Section("Methods", "The methods compared.", [_table(METHODS), *_figures(contents)])


def _training() -> Section:
    names = {
        "gradient_norm": "Gradient norm",
        "update_ratio": "Update over weights, RMS",
        "learning_rate": "Learning rate",
    }
    panels = [_curve(title, of_row(name), N_TOKENS) for name, title in names.items()]
    return Section("Training", "How training goes.", panels)


def _speed() -> Section:
    names = {
        "tokens_per_second": "Tokens per second",
        "flops_utilisation": "Share of the device's peak FLOPs",
        "device_memory_bytes": "Device memory, bytes",
        "data_seconds": "Seconds waiting for data",
    }
    panels = [_curve(title, of_row(name), "Step") for name, title in names.items()]
    return Section("Speed", "How fast training is.", panels)


def _compare() -> Section:
    import wandb_workspaces.reports.v2.interface as wr

    panels = [wr.RunComparer(diff_only="split", layout=_layout(WHOLE))]
    return Section("Run comparer", "In which settings and results runs differ.", panels)


def _curve(title: str, y: str, x: str, log_y: bool = False) -> Any:
    import wandb_workspaces.reports.v2.interface as wr

    return wr.LinePlot(
        title=title,
        x=x,
        y=[y],
        log_x=x != "Step",
        log_y=log_y,
        ignore_outliers=False,
        legend_template="${run:displayName}",
        layout=_layout(),
    )


def _figures(contents: Contents) -> list[Any]:
    import wandb_workspaces.reports.v2.interface as wr

    keys = [f"{FIGURES}{name}" for name in contents.figures]
    if not keys:
        return []
    columns = min(3, len(keys))
    return [wr.MediaBrowser(title="Figures", media_keys=keys, num_columns=columns, layout=_layout(WHOLE))]


def _table_scatter(title: str, table: str, x: str, y: str) -> Any:
    import wandb_workspaces.reports.v2.interface as wr

    return wr.CustomChart(
        query={"summaryTable": {"tableKey": f"{FITS}{table}"}},
        chart_name=SCATTER,
        chart_fields={"x": x, "y": y},
        chart_strings={"title": title},
        layout=_layout(),
    )


def _table(key: str) -> Any:
    import wandb_workspaces.reports.v2.interface as wr

    return wr.WeavePanelSummaryTable(table_name=key, layout=_layout())


def _layout(width: int = HALF) -> Any:
    import wandb_workspaces.reports.v2.interface as wr

    return wr.Layout(w=width, h=HIGH)
