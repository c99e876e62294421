"""lora-jax coordinates: do activations and their changes keep their size as a model grows?"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_jax.commands.caller import INSTALLED, find_config
from lora_jax.commands.number_options import add_number, add_numbers
from lora_jax.commands.table_options import command_line
from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError
from lora_jax.files import to_json
from lora_jax.ranges import CHECK_SEEDS, COUNT, LAYERS, RATE, WIDTH

if TYPE_CHECKING:
    from lora_jax.config import RunConfig
    from lora_jax.report.kit.drawing import Drawing
    from lora_jax.report.kit.tables import Table
    from lora_jax.scaling.coordinates import Axis, Coordinate, CoordinateReport
    from lora_jax.training.coordinates import Moments

GROWTH = (1, 2, 4, 8)  # the widths that are checked by default, relative to the base's
STEPS, LATE = (1, 2, 3, 5, 10), 100


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "coordinates",
        help="check whether activations and their changes keep their size as a model grows",
        description="Train the first model of a config at several widths, and depths if you name some, for a"
        " few steps. Fit how the size of activations, and how far they move, change with the width. If"
        " they do not change, a learning rate that is good for a small model is good for a large one.",
    )
    parser.add_argument("config", type=Path, help="config file; its first run is resized")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="field=value",
        help="set this field, such as model.parametrisation=mup",
    )
    _add_sizes(parser)
    _add_moments(parser)
    add_number(
        parser,
        "--seeds",
        CHECK_SEEDS,
        metavar="K",
        default=3,
        help="number of seeds for each model (default: 3)",
    )
    add_number(
        parser,
        "--rate",
        RATE,
        metavar="RATE",
        help="optim.learning_rate (default: that of the config). Choose a large one: at a small rate every"
        " model passes",
    )
    parser.add_argument("--out", type=Path, help="folder of the report (default: results/CONFIG-coordinates)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def _add_sizes(parser: Any) -> None:
    add_numbers(
        parser,
        "--widths",
        WIDTH,
        "64,128,256,512",
        metavar="W,W,...",
        help="widths (d_model) to compare, at least four (default: 1, 2, 4 and 8 times the base width)",
    )
    add_numbers(
        parser,
        "--depths",
        LAYERS,
        "2,4,8,16",
        metavar="L,L,...",
        default=(),
        help="depths (n_layers) to compare, at least four (default: none)",
    )


def _add_moments(parser: Any) -> None:
    """Add the steps after which activations and weights are measured."""
    add_numbers(
        parser,
        "--steps",
        COUNT,
        "1,2,5,10",
        metavar="S,S,...",
        default=STEPS,
        help=f"measure activations after these steps (default: {','.join(map(str, STEPS))})",
    )
    add_number(
        parser,
        "--late",
        COUNT,
        metavar="S",
        default=LATE,
        help=f"measure weights after this step (default: {LATE})",
    )


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.commands.waiting import waiting
    from lora_jax.runs.experiment import load_experiment
    from lora_jax.scaling.coordinates import FEWEST_SIZES

    config = find_config(arguments.config)
    experiment = load_experiment(config, arguments.overrides)
    folder = arguments.out or INSTALLED.results(f"{experiment.name}-coordinates")
    first = experiment.runs[0]
    if arguments.rate is not None:
        first = replace(first, optim=replace(first.optim, learning_rate=arguments.rate))
    widths, depths = arguments.widths or default_widths(first), arguments.depths
    for axis, sizes in (("widths", widths), ("depths", depths)):
        if sizes and len(set(sizes)) < FEWEST_SIZES:
            raise LoraJaxError(
                f"--{axis} names {len(set(sizes))} {axis}, the check needs {FEWEST_SIZES} or more: add some."
            )
    with waiting():
        report = check_coordinates(first, sorted(set(widths)), sorted(set(depths)), arguments)
    _show(report, folder, arguments.json)
    return 0


def default_widths(first: "RunConfig") -> tuple[int, ...]:
    """Return 1, 2, 4 and 8 times the base width, or the model's own width without a base."""
    base = first.model.base_width or first.model.d_model
    return tuple(base * growth for growth in GROWTH)


def check_coordinates(
    first: "RunConfig", widths: Sequence[int], depths: Sequence[int], arguments: argparse.Namespace
) -> "CoordinateReport":
    """Train the models and fit the slopes."""
    from lora_jax.runs.execute import prepare_data, use_compilation_cache
    from lora_jax.scaling.coordinates import CoordinateReport, along, fit_slopes
    from lora_jax.training.coordinates import Moments

    use_compilation_cache()
    model = first.model
    fixed_width, fixed_depth = model.base_width or widths[0], model.base_depth or model.n_layers
    sizes = dict.fromkeys([*((w, fixed_depth) for w in widths), *((fixed_width, d) for d in depths)])
    steps = sorted(set(arguments.steps))
    runs = _resized(first, list(sizes), arguments.seeds)
    dataset = prepare_data(runs[:1], lambda line: print(line, file=sys.stderr))[first.data]
    found, notes = _measure(runs, dataset, Moments(tuple(steps), arguments.late))
    axes: dict[Axis, list[Coordinate]] = {"width": along(found, "width", fixed_depth)}
    if depths:
        axes["depth"] = along(found, "depth", fixed_width)
    return CoordinateReport(
        model=_describe(first),
        rate=first.optim.learning_rate,
        widths=tuple(widths),
        depths=tuple(depths),
        fixed_width=fixed_width,
        fixed_depth=fixed_depth,
        seeds=tuple(range(arguments.seeds)),
        steps=tuple(steps),
        late=arguments.late,
        slopes=tuple(slope for axis, rows in axes.items() for slope in fit_slopes(rows, axis)),
        coordinates=tuple(found),
        notes=tuple(notes),
    )


def _resized(first: "RunConfig", sizes: Sequence[tuple[int, int]], n_seeds: int) -> "list[RunConfig]":
    from lora_jax.model.parametrisation import resize

    return [
        replace(first, model=resize(first.model, width, depth), seed=seed)
        for width, depth in sizes
        for seed in range(n_seeds)
    ]


def _measure(
    runs: "Sequence[RunConfig]", dataset: Any, moments: "Moments"
) -> "tuple[list[Coordinate], list[str]]":
    """Train each run; return the measurements, and a line about each run that diverged."""
    from lora_jax.scaling.coordinates import Coordinate
    from lora_jax.scaling.progress import begin_step
    from lora_jax.training.coordinates import watch_coordinates

    found: list[Coordinate] = []
    notes: list[str] = []
    done = begin_step("training the models", len(runs))
    for run in runs:
        width, depth, seed = run.model.d_model, run.model.n_layers, run.seed
        snapshots = watch_coordinates(run, dataset, moments)
        if snapshots[-1].step < moments.last:
            notes.append(
                f"The model of width {width} and depth {depth} diverged with seed {seed} after step"
                f" {snapshots[-1].step}."
            )
        for snapshot in snapshots:
            put = partial(Coordinate, width, depth, seed, snapshot.step)
            for site in snapshot.sites:
                found += [put(site.site, "size", site.size), put(site.site, "change", site.change)]
            if snapshot.matrix_growth is not None:
                found.append(put("matrices", "growth", snapshot.matrix_growth))
        done(1)
    return found, notes


def _describe(first: "RunConfig") -> str:
    from lora_jax.training.optimizers import make_optimizer

    model, kind = first.model, make_optimizer(first.optim).kind
    base = "" if model.base_width is None else f", base width {model.base_width}"
    depth = "" if model.base_depth is None else f", base depth {model.base_depth}"
    return f"{model.parametrisation}{base}{depth}, {kind}"


def _show(report: "CoordinateReport", folder: Path, as_json: bool) -> None:
    from lora_jax.report.coordinates.rows import say_verdict, slope_table
    from lora_jax.report.kit.answer_page import Answer, write_answer
    from lora_jax.report.kit.tables import make_console, print_table

    axes: list[Axis] = ["width", *(["depth"] if report.depths else [])]
    words = "\n".join(say_verdict(report, axis) for axis in axes)
    tables: list[Table | None] = [slope_table(report, axis) for axis in axes]
    document = to_document(report)
    page = write_answer(
        Answer(
            "coordinates",
            f"Coordinate check: {report.model}",
            command_line(sys.argv[1:]),
            words,
            tables,
            [_draw(report, axis) for axis in axes],
            report.notes,
            document,
            guide="docs/parametrisation.md",
        ),
        folder,
    )
    if as_json:
        print(to_json(document))
        return
    console = make_console()
    for axis in axes:
        print_table(slope_table(report, axis, (report.steps[-1], report.late)), console)
        console.print(say_verdict(report, axis), markup=False, highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note}", style="dim", markup=False, highlight=False, soft_wrap=True)
    print(f"Report: {page}")


def _draw(report: "CoordinateReport", axis: "Axis") -> "Drawing":
    from lora_jax.report.coordinates.plots import plot_coordinates
    from lora_jax.report.kit.drawing import Drawing

    fixed = f"depth {report.fixed_depth}" if axis == "width" else f"width {report.fixed_width}"
    words = (
        f"Sizes of activations, and how far they moved from step 0, against {axis} at {fixed}. Dots are"
        " seeds, lines their means. Lines that are flat from step 3 on pass the check. The last panel is ln"
        " of the spectral norm of the matrices over that at the start."
    )
    return Drawing(f"coordinates_{axis}", f"Sizes against {axis}", words, plot_coordinates(report, axis))
