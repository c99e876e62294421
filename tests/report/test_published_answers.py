"""Pages of single answers are drawn again from their JSON files, and no words of their figures meet."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_jax.commands.report import ANSWERS, write_pages_of
from lora_jax.errors import LoraJaxError
from lora_jax.report.ablation import page as ablation
from lora_jax.report.finetuning.law_plots import plot_crossovers, plot_laws
from lora_jax.report.kit.drawing import Drawing
from lora_jax.report.kit.panels import set_title
from lora_jax.report.latency.documents import load_latency
from lora_jax.report.latency.page import draw_latency
from lora_jax.report.transfer import page as transfer
from lora_jax.scaling.finetuning.study_results import read_study_report
from lora_jax.scaling.rates.documents import read_transfer
from lora_jax.scaling.recipes.documents import read_ablation

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
DRAWN: dict[str, Callable[[Path], list[Drawing]]] = {
    "ablation": lambda folder: ablation.draw(read_ablation(folder)),
    "optimizers_cpu": lambda folder: ablation.draw(read_ablation(folder)),
    "transfer": lambda folder: transfer.draw(read_transfer(folder)),
    "latency": lambda folder: draw_latency(load_latency(folder)),
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
    [("ablation", "ablation.html"), ("transfer", "transfer.html"), ("latency", "report.html")],
)
def test_a_page_is_drawn_again_from_its_answer_alone(name: str, page: str, tmp_path: Path) -> None:
    answer = f"{name}.json"
    assert answer in ANSWERS
    folder = tmp_path / name
    folder.mkdir()
    for file in (answer, "sweep.json"):
        if (PUBLISHED / name / file).exists():
            shutil.copy(PUBLISHED / name / file, folder / file)
    assert write_pages_of(folder) == [folder / page]
    assert (folder / answer).read_bytes() == (PUBLISHED / name / answer).read_bytes()
    drawn = {file.name for file in (folder / "figures").iterdir()}
    assert drawn == {file.name for file in (PUBLISHED / name / "figures").iterdir()}


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
