"""One look for all figures: size, colours that colour-blind readers tell apart, readable logarithmic ticks.

Figures are made with matplotlib's objects alone (no pyplot), so that nothing global is touched.
"""

import io
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lora_jax.files import write_atomically
from lora_jax.report.kit.figure_text import Maths
from lora_jax.report.kit.marks import add_titles
from lora_jax.report.kit.numbers import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

PNG_DPI = 150
SIZE = (7.2, 4.6)  # inches: the width of a page's text
# Okabe and Ito's palette
BLUE, VERMILION, GREEN, ORANGE, PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"
FAINT, INK = "#B0B0B0", "#222222"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, "#56B4E9", INK)  # of series, with a marker each
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
N_LOOKS = len(COLOURS) * len(MARKERS)  # pairs of a colour and a marker


def look_of(number: int) -> tuple[str, str]:
    """Return the colour and the marker of a series. The first `N_LOOKS` have a pair of their own."""
    n = len(COLOURS)
    return COLOURS[number % n], MARKERS[(number + number // n) % n]


def new_figure(columns: int = 1) -> "tuple[Figure, list[Axes]]":
    """Return an empty figure of the one size, with its axes from left to right."""
    from lora_jax.report.kit.plain_figure import PlainFigure

    figure = PlainFigure(figsize=SIZE, layout="constrained", facecolor="white")
    axes = [figure.add_subplot(1, columns, i + 1) for i in range(columns)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, which="major", color="#E6E6E6", linewidth=0.7)
        ax.set_axisbelow(True)
    return figure, axes


def set_loss_axis(ax: "Axes", low: float, high: float, label: str, axis: str = "y") -> None:
    """Make a logarithmic axis from low to high with plain numbers: round steps, not powers of ten."""
    set_scale(ax, axis, low, high, loss_ticks(low, high), lambda x: f"{x:g}", label)


def set_count_axis(ax: "Axes", low: float, high: float, label: str, narrow: bool = False) -> None:
    """Make a logarithmic x axis of parameters or tokens, with ticks such as 200k and 1M; fewer if narrow."""
    ticks = decade_ticks(low, high, (1, 3) if narrow and high / low > 10 else ())
    set_scale(ax, "x", low, high, ticks, format_count, label)


def set_flops_axis(ax: "Axes", low: float, high: float, label: str) -> None:
    """Make a logarithmic x axis in powers of ten."""

    def show(x: float) -> str:
        mantissa, exponent = f"{x:.0e}".split("e")
        power = rf"10^{{{int(exponent)}}}"
        return Maths(f"${power}$" if mantissa == "1" else rf"${mantissa}\cdot{power}$")

    set_scale(ax, "x", low, high, decade_ticks(low, high), show, label)


def set_rate_axis(ax: "Axes", low: float, high: float, label: str) -> None:
    """Make a logarithmic x axis of learning rates."""
    set_scale(ax, "x", low, high, decade_ticks(low, high), lambda x: f"{x:g}", label)


def add_legend(figure: "Figure") -> None:
    """Put the legend under the axes, where no data can lie."""
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5, frameon=False)


def size_colours() -> "Colormap":
    """Return viridis without its last tenth, a yellow that white paper swallows."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap([matplotlib.colormaps["viridis"](i) for i in range(230)])


def add_count_bar(
    figure: "Figure", mappable: "ScalarMappable", ax: "Axes", label: str, low: float, high: float
) -> None:
    """Add a colour bar of parameters or tokens from low to high."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    bar = figure.colorbar(mappable, ax=ax, label=label, pad=0.02)
    bar.ax.yaxis.set_major_locator(FixedLocator(decade_ticks(low, high)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda x, _: format_count(x)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")  # or a browser shows the page through the seams of its parts


def loss_ticks(low: float, high: float) -> list[float]:
    """Return 4 to 9 round losses within [low, high]; steps grow with the loss where the range is wide."""
    if high / low > 6:
        return decade_ticks(low, high, (1, 1.5, 2, 3, 4, 6, 8))
    step = 10 ** math.floor(math.log10((high - low) / 4))
    while (high - low) / step > 8:
        step *= 2 if round(math.log10(step) % 1, 3) != 0.301 else 2.5
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def decade_ticks(low: float, high: float, steps: tuple[float, ...] = ()) -> list[float]:
    """Return round numbers within [low, high], on a logarithmic scale; fewer to a decade the more decades."""
    decades = math.log10(high / low)
    if not steps:
        steps = (1, 2, 5) if decades < 2.6 else (1, 3) if decades < 4 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, math.ceil(decades / 9))
    ticks = [m * 10.0**p for p in powers if p % every == 0 for m in steps]
    return [t for t in ticks if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]


def spread_labels(positions: list[float], gap: float) -> list[float]:
    """Return positions in the same order, moved as little as a sweep needs to leave `gap` between them."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    moved = list(positions)
    for before, after in itertools.pairwise(order):
        moved[after] = max(moved[after], moved[before] + gap)
    excess = (sum(moved) - sum(positions)) / len(positions) if positions else 0.0
    return [p - excess for p in moved]


def set_scale(
    ax: "Axes",
    axis: str,
    low: float,
    high: float,
    ticks: list[float],
    show: Callable[[float], str],
    label: str,
) -> None:
    """Make the axis "x" or "y" logarithmic from low to high, with only these ticks, written by `show`."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    getattr(ax, f"set_{axis}scale")("log")
    getattr(ax, f"set_{axis}lim")(low, high)
    getattr(ax, f"set_{axis}label")(label)
    which = getattr(ax, f"{axis}axis")
    which.set_major_locator(FixedLocator(ticks))
    which.set_major_formatter(FuncFormatter(lambda x, _: show(x)))
    which.set_minor_locator(NullLocator())
    which.set_minor_formatter(NullFormatter())


def save_figure(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write folder/name.png (150 dpi) and folder/name.svg, each atomically, and return the two paths.

    The figure is laid out once, for the first of them. savefig would lay it out and draw it twice for each.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    from lora_jax.report.kit.plain_figure import PlainFigure

    folder.mkdir(parents=True, exist_ok=True)
    png, svg = io.BytesIO(), io.BytesIO()
    dpi, layout = figure.get_dpi(), figure.get_layout_engine()
    figure.set_dpi(PNG_DPI)
    FigureCanvasAgg(figure).print_png(png)
    figure.set_layout_engine("none")
    # A fixed salt and no date: the same numbers give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
    figure.set_dpi(dpi)
    figure.set_layout_engine(layout)
    drawn = svg.getvalue().decode("utf-8")
    if isinstance(figure, PlainFigure):
        drawn = add_titles(drawn, figure.words)
    saved = []
    for kind, content in (("png", png.getvalue()), ("svg", drawn.encode("utf-8"))):
        path = folder / f"{name}.{kind}"
        write_atomically(path, content)
        saved.append(path)
    return saved
