"""The figure of a coordinate check: a step has one colour in all panels."""

from lora_jax.report.coordinates.plots import plot_coordinates
from lora_jax.scaling.coordinates import Coordinate, CoordinateReport, fit_slopes

WIDTHS, SEEDS = (16, 32, 64, 128), (0, 1, 2)


def test_a_step_has_the_colour_that_the_legend_gives_it() -> None:
    rows = [
        Coordinate(width, 2, seed, step, "logits", quantity, width**0.1 + step + 0.1 * seed)
        for width in WIDTHS
        for seed in SEEDS
        for step in (0, 1, 3)
        for quantity in ("size", "change")
    ]
    report = CoordinateReport(
        model="mup, adamw",
        rate=0.01,
        widths=WIDTHS,
        depths=(),
        fixed_width=16,
        fixed_depth=2,
        seeds=SEEDS,
        steps=(1, 3),
        late=3,
        slopes=tuple(fit_slopes(rows, "width")),
        coordinates=tuple(rows),
    )
    size, change = plot_coordinates(report, "width").axes
    colours = [
        {
            str(line.get_label()): tuple(line.get_color())
            for line in ax.lines
            if "step" in str(line.get_label())
        }
        for ax in (size, change)
    ]
    assert colours[0].keys() == {"step 0", "step 1", "step 3"}
    assert len(set(colours[0].values())) == 3
    assert colours[1] == {name: colours[0][name] for name in ("step 1", "step 3")}
