"""Figures of the laws of a study: loss by method in small multiples, and the map of crossovers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lora_jax.report.kit import style
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.figure_text import name_of
from lora_jax.report.kit.marks import name_marks
from lora_jax.report.kit.numbers import format_count, format_loss
from lora_jax.report.kit.panels import PANEL_TITLE, label_below, new_grid, share_labels
from lora_jax.report.kit.thinning import spread
from lora_jax.scaling.finetuning.results import Cell, Crossing, Crossover, FinetuningReport, MethodResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

MOST_PANELS = 9
MOST_PAIRS = 6
COLUMNS = 3
PADDING = 1.4
# What our own columns hold, in words for an axis
WORDS = {
    "finetune_tokens": "fine-tuning tokens",
    "n_train": "fine-tuning examples",
    "n_params": "parameters of the base",
    "pretraining_tokens": "pretraining tokens",
    "trainable_params": "parameters that train",
}


def plot_laws(report: FinetuningReport) -> "Figure | None":
    """Draw loss against F, a panel for each method and a colour for each X: cells, and lines of the law."""
    methods = _drawn(report)
    cells = [cell for method in methods for cell in method.cells if "F" in cell.at]
    if not cells:
        return None
    columns = min(COLUMNS, len(methods))
    figure, axes = new_grid(len(methods), columns, 2.5 if columns > 1 else 4.2)
    colours = _colours(sorted({cell.at.get(report.x, 0.0) for cell in cells}))
    sizes, losses = [cell.at["F"] for cell in cells], [cell.loss for cell in cells]
    low, high = min(losses) / 1.02, max(losses) * 1.02
    for ax, method in zip(axes, methods, strict=True):
        _draw_method(ax, method, report.x, colours)
        style.set_count_axis(ax, min(sizes) / PADDING, max(sizes) * PADDING, "", narrow=True)
        style.set_loss_axis(ax, low, high, "")
        ax.set_title(name_of(method.name), fontsize=PANEL_TITLE, loc="left")
    share_labels(figure, axes, columns, "", f"loss, {report.loss_unit}")
    label_below(axes, columns, _name_axis("F", report.f_column))
    handles = [_legend_mark(axes[0], colour, report.x, x) for x, colour in colours.items()]
    if len(colours) > 1:
        figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8.5, frameon=False)
    return figure


def _drawn(report: FinetuningReport) -> list[MethodResult]:
    """Return the methods that ran at several F, those of the most cells first. One F shows no course."""
    methods = [m for m in report.methods if len({cell.at["F"] for cell in m.cells if "F" in cell.at}) > 1]
    return spread(sorted(methods, key=lambda m: -len(m.cells)), MOST_PANELS)


def _say_left_out(report: FinetuningReport) -> str:
    """Return a sentence that names the methods without a panel; empty if there is none."""
    drawn = {method.name for method in _drawn(report)}
    names = [method.name for method in report.methods if method.name not in drawn]
    return f" Without a panel, and in the tables: {'; '.join(names)}." if names else ""


def draw_laws(report: FinetuningReport, end: str = "", of: str = "") -> Iterator[Drawing]:
    """Yield the figures of the laws in one X.

    Args:
        report: The laws.
        end: The end of the figures' names.
        of: What the titles say of the data, such as " on rte".
    """
    laws, crossovers = plot_laws(report), plot_crossovers(report)
    if laws is not None:
        yield Drawing(
            f"laws{end}",
            f"Loss of each method against the size of its training set{of}",
            f"A panel for each method, a colour for each {report.x}. A mark is a cell at its best rate, the"
            " mean over seeds; hollow where that rate is at an edge of its grid. A line is what the law says"
            f" at the cells; a panel without lines has no law.{_say_left_out(report)}",
            laws,
        )
    if crossovers is not None:
        yield Drawing(
            f"crossovers{end}",
            f"Where two methods have the same loss{of}",
            "A line is the F of equal loss by the laws, the band its 95 % interval. The grey ground and the"
            " dotted lines are the range of the runs: what lies outside is extrapolated, and its marks are"
            " hollow.",
            crossovers,
        )


def _name_axis(letter: str, column: str) -> str:
    """Return such as "N, parameters of the base"; a column of somebody's own keeps its name."""
    return f"{letter}, {WORDS.get(column, column)}"


def _legend_mark(ax: "Axes", colour: str, letter: str, x: float) -> "Line2D":
    return ax.plot([], [], "o-", color=colour, markersize=4, label=f"{letter} = {format_count(x)}")[0]


def _colours(values: Sequence[float]) -> Mapping[float, str]:
    from matplotlib.colors import to_hex

    shades = style.size_colours()
    last = max(1, len(values) - 1)
    return {x: to_hex(shades(round(i * (shades.N - 1) / last))) for i, x in enumerate(values)}


def _draw_method(ax: "Axes", method: MethodResult, letter: str, colours: Mapping[float, str]) -> None:
    for x, colour in colours.items():
        cells = sorted(
            (c for c in method.cells if c.at.get(letter, 0.0) == x and "F" in c.at), key=lambda c: c.at["F"]
        )
        if not cells:
            continue
        fitted = [(cell.at["F"], cell.fitted) for cell in cells if cell.fitted is not None]
        if fitted:
            ax.plot(*zip(*fitted, strict=True), "-", color=colour, linewidth=1.2, zorder=2)
        [marks] = ax.plot(
            [c.at["F"] for c in cells], [c.loss for c in cells], "o", color=colour, markersize=4.5, zorder=3
        )
        name_marks(marks, [_say_cell(method.name, letter, cell) for cell in cells])
        edge = [c for c in cells if c.rate is not None and c.rate.at_edge]
        if edge:
            ax.plot(
                [c.at["F"] for c in edge], [c.loss for c in edge], "o", markersize=2, color="white", zorder=4
            )


def _say_cell(name: str, letter: str, cell: Cell) -> str:
    rate = "" if cell.rate is None else f", rate {cell.rate.best:.3g}{' at an edge' * cell.rate.at_edge}"
    place = f"{letter} {format_count(cell.at.get(letter))}, F {format_count(cell.at['F'])}"
    return f"{name}, {place}: {format_loss(cell.loss)}, {cell.n_seeds} seeds{rate}"


def plot_crossovers(report: FinetuningReport) -> "Figure | None":
    """Draw where the methods of each pair have the same loss, over X and F.

    A band is the 95 % interval, cut where it is open. What lies outside the runs is grey ground.
    """
    pairs = [c for c in report.crossovers if c.crossings and report.x in c.crossings[0].at][:MOST_PAIRS]
    if not pairs:
        return None
    columns = min(2, len(pairs))
    figure, axes = new_grid(len(pairs), columns, 3.0 if columns > 1 else 4.4)
    xs = [crossing.at[report.x] for pair in pairs for crossing in (*pair.crossings, *pair.curve)]
    low_f, high_f = min(p.f_range[0] for p in pairs), max(p.f_range[1] for p in pairs)
    bottom, top = low_f / 30, high_f * 30
    for ax, pair in zip(axes, pairs, strict=True):
        _draw_pair(ax, pair, report.x, (bottom, top))
        style.set_count_axis(ax, min(xs) / 1.1, max(xs) * 1.1, "", narrow=True)
        ticks = style.decade_ticks(bottom, top, (1,))
        style.set_scale(ax, "y", bottom, top, ticks, format_count, "")
        ax.set_title(
            f"{name_of(pair.first, 24)} or {name_of(pair.second, 24)}", fontsize=PANEL_TITLE, loc="left"
        )
    across, up = _name_axis(report.x, report.x_column), _name_axis("F", report.f_column)
    share_labels(figure, axes, columns, across, up)
    return figure


def _draw_pair(ax: "Axes", pair: Crossover, letter: str, ends: tuple[float, float]) -> None:
    places = [crossing.at[letter] for crossing in pair.crossings]
    ax.axhspan(*pair.f_range, color="#F2F2F2", zorder=0)
    for x in (min(places), max(places)):
        ax.axvline(x, color=style.FAINT, linewidth=0.7, linestyle=":", zorder=1)
    curve = [c for c in pair.curve if c.finetune_tokens.value is not None]
    if curve:
        xs = [c.at[letter] for c in curve]
        lows, highs = zip(*(_ends(c, ends) for c in curve), strict=True)
        ax.fill_between(xs, lows, highs, color=style.BLUE, alpha=0.15, linewidth=0, zorder=1)
        ax.plot(xs, [_value(c) for c in curve], "-", color=style.BLUE, linewidth=1.2, zorder=2)
    found = [c for c in pair.crossings if c.finetune_tokens.value is not None]
    inside = [c for c in found if c.found == "identified"]
    for group, fill in ((inside, style.BLUE), ([c for c in found if c not in inside], "white")):
        if group:
            [marks] = ax.plot(
                [c.at[letter] for c in group],
                [_value(c) for c in group],
                "o",
                color=style.BLUE,
                markerfacecolor=fill,
                markersize=5.5,
                zorder=3,
            )
            name_marks(marks, [say_crossing(c, letter) for c in group])
    if not found:
        better = {c.above for c in pair.crossings if c.above is not None}
        words = f"no crossing: {' or '.join(sorted(better))} is better" if better else "the runs do not tell"
        ax.text(0.5, 0.5, name_of(words, 48), transform=ax.transAxes, ha="center", fontsize=8.5)


def _value(crossing: Crossing) -> float:
    assert crossing.finetune_tokens.value is not None  # chosen so
    return crossing.finetune_tokens.value


def _ends(crossing: Crossing, ends: tuple[float, float]) -> tuple[float, float]:
    low, high = crossing.finetune_tokens.low, crossing.finetune_tokens.high
    return ends[0] if low is None else low, ends[1] if high is None else high


def say_crossing(crossing: Crossing, letter: str) -> str:
    """Return where a pair crosses, in words."""
    value = format_count(crossing.finetune_tokens.value)
    above = "" if crossing.above is None else f", above it {crossing.above}"
    return f"{letter} {format_count(crossing.at.get(letter))}: F {value}, {crossing.found}{above}"
