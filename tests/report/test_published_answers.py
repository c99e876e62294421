"""Pages of single answers are drawn again from their JSON files, and no words of their figures meet."""

import itertools
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from lora_jax.commands.report import ANSWERS, write_pages_of
from lora_jax.errors import LoraJaxError
from lora_jax.report.ablation import page as ablation
from lora_jax.report.ablation.plots import plot_cuts
from lora_jax.report.finetuning.forgetting_plots import plot_frontier
from lora_jax.report.finetuning.law_plots import draw_laws, plot_crossovers, plot_laws
from lora_jax.report.kit import style
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.numbers import format_difference
from lora_jax.report.kit.panels import set_title
from lora_jax.report.latency.documents import load_latency
from lora_jax.report.latency.page import draw_latency
from lora_jax.report.speedup import page as speedup
from lora_jax.report.speedup.plots import FARTHEST
from lora_jax.report.transfer import page as transfer
from lora_jax.report.transfer.plots import plot_drifts
from lora_jax.scaling.finetuning.study_results import read_study_report
from lora_jax.scaling.rates.documents import read_transfer
from lora_jax.scaling.recipes.documents import read_ablation
from lora_jax.scaling.speedups.documents import read_speedup
from lora_jax.scaling.speedups.results import SpeedupReport

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
DRAWN: dict[str, Callable[[Path], list[Drawing]]] = {
    "ablation": lambda folder: ablation.draw(read_ablation(folder)),
    "optimizers_cpu": lambda folder: ablation.draw(read_ablation(folder)),
    "transfer": lambda folder: transfer.draw(read_transfer(folder)),
    "latency": lambda folder: draw_latency(load_latency(folder)),
    "optimizers_cpu/speedup": lambda folder: speedup.draw(read_speedup(folder)),
}


@pytest.mark.parametrize("name", DRAWN)
def test_no_words_around_the_panels_of_a_figure_meet(name: str) -> None:
    for drawing in DRAWN[name](PUBLISHED / name):
        figure = drawing.figure
        if not figure.get_suptitle():
            set_title(figure, drawing.title)
        figure.draw_without_rendering()
        words = [figure._suptitle, figure._supxlabel, figure._supylabel]  # pyright: ignore[reportAttributeAccessIssue]
        around = [text.get_window_extent() for text in words if text is not None and text.get_text()]
        around += [legend.get_window_extent() for legend in figure.legends]
        around += [box for ax in figure.axes if (box := ax.get_tightbbox()) is not None]
        for one, other in itertools.combinations(around, 2):
            wide = min(one.x1, other.x1) - max(one.x0, other.x0)
            high = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert min(wide, high) < 2, f"{drawing.name}: {one} and {other} meet"  # pixels


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("ablation", "ablation.html"),
        ("transfer", "transfer.html"),
        ("latency", "report.html"),
        ("optimizers_cpu/speedup", "report.html"),
    ],
)
def test_a_page_is_drawn_again_from_its_answer_alone(name: str, page: str, tmp_path: Path) -> None:
    answer = f"{Path(name).name}.json"
    assert answer in ANSWERS
    folder = tmp_path / name
    folder.mkdir(parents=True)
    for file in (answer, "sweep.json"):
        if (PUBLISHED / name / file).exists():
            shutil.copy(PUBLISHED / name / file, folder / file)
    assert write_pages_of(folder) == [folder / page]
    assert (folder / answer).read_bytes() == (PUBLISHED / name / answer).read_bytes()
    drawn = {file.name for file in (folder / "figures").iterdir()}
    assert drawn == {file.name for file in (PUBLISHED / name / "figures").iterdir()}


@pytest.mark.parametrize("module", ANSWERS.values())
def test_every_answer_has_a_page_that_is_drawn_again(module: str) -> None:
    assert callable(import_module(module).redraw)


def test_a_folder_without_an_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoraJaxError):
        write_pages_of(tmp_path)


def test_axes_of_laws_of_fine_tuning_are_words_that_fit() -> None:
    """An axis says what it holds; a label that is too long for its panel would be cut."""
    [task, *_] = read_study_report(PUBLISHED / "finetune_laws").tasks
    for plot in (plot_laws, plot_crossovers):
        figure = plot(task.laws[0])
        assert figure is not None
        figure.draw_without_rendering()
        words = {ax.get_xlabel() for ax in figure.axes} | {figure.get_supxlabel(), figure.get_supylabel()}
        assert "F, fine-tuning tokens" in words
        assert not any("\u2026" in word or "_" in word for word in words)


def test_every_method_that_forgets_is_drawn() -> None:
    """Its legend once ended after seven methods, and so did the runs, one of the frontier among them."""
    [task, *_] = read_study_report(PUBLISHED / "finetune_laws").tasks
    assert task.forgetting is not None
    figure = plot_frontier(task.forgetting, task.loss_unit)
    assert figure is not None
    [legend] = figure.legends
    largest = max(run.n_train for run in task.forgetting.runs)
    methods = {run.method for run in task.forgetting.runs if run.n_train == largest}
    assert {text.get_text() for text in legend.get_texts()} == methods
    assert len(methods) > len(style.COLOURS)
    assert len({style.look_of(i) for i in range(style.N_LOOKS)}) == style.N_LOOKS


def test_a_method_of_one_set_size_has_no_panel_and_is_named_below() -> None:
    [task, *_] = read_study_report(PUBLISHED / "finetune_laws").tasks
    laws = next(draw_laws(task.laws[0]))
    titles = {ax.get_title(loc="left") for ax in laws.figure.axes}
    named = laws.caption.rpartition(": ")[2].removesuffix(".").split("; ")
    for method in task.laws[0].methods:
        sizes = {cell.at["F"] for cell in method.cells if "F" in cell.at}
        assert (method.name in titles) == (len(sizes) > 1)
        assert (method.name in named) == (len(sizes) == 1)


def test_an_interval_that_goes_on_beyond_the_edge_has_no_end_there() -> None:
    report = read_speedup(PUBLISHED / "optimizers_cpu" / "speedup")
    [drawing] = speedup.draw(report)
    assert isinstance(report, SpeedupReport)
    ends = [e for r in report.recipes for p in r.points for e in p.speedup.interval]
    strokes = [line for ax in drawing.figure.axes for line in ax.lines if line.get_marker() == "_"]
    drawn = sorted(np.concatenate([np.asarray(line.get_ydata(), float) for line in strokes]).tolist())
    assert drawn == sorted(e for e in ends if 1 / FARTHEST <= e <= FARTHEST)
    assert len(drawn) < len(ends)


def test_a_range_that_was_not_cut_has_no_panel() -> None:
    figure = plot_cuts(read_ablation(PUBLISHED / "optimizers_cpu"))
    assert figure is not None
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Without the smallest models"]


def test_each_series_has_a_panel_for_each_axis_with_the_power_of_its_line() -> None:
    report = read_transfer(PUBLISHED / "transfer")
    figure = plot_drifts(report)
    assert figure is not None
    shown = {
        (ax.get_title(loc="left"), ax.get_xlabel()): [text.get_text() for text in ax.texts]
        for ax in figure.axes
    }
    for series in report.series:
        for drift in series.drifts:
            said = [] if drift.slope is None else ["{} ({})".format(*format_difference(drift.slope))]
            assert shown[series.label, drift.axis] == said
