"""The tables of in-context learning beside fine-tuning, for the terminal and for the page."""

from lora_jax.comparison.gradient_results import GradientCosts, ProgramMemory
from lora_jax.comparison.incontext_conclusions import name_line, name_prompt
from lora_jax.comparison.incontext_results import (
    Cost,
    Difference,
    InContextComparison,
    Point,
    TaskComparison,
)
from lora_jax.report.kit.numbers import (
    MISSING,
    format_count,
    format_difference,
    format_interval,
    format_seconds,
)
from lora_jax.report.kit.tables import INTERVAL, Table

MEGA = 1e-6
HOLM = ", not after Holm's correction"


def score_rows(task: TaskComparison) -> Table:
    """Return a row for each way and number of examples; marked: what differs from the best prompt."""
    differences = {
        (crossing.line, point.n): point for crossing in task.crossings for point in crossing.points
    }
    rows, flagged = [], set()
    for i, line in enumerate(task.lines):
        for point in line.points:
            difference = differences.get((i, point.n))
            if difference is not None and difference.distinguishable:
                flagged.add(len(rows))
            rows.append(
                (
                    name_line(line),
                    _examples(point),
                    *format_interval(point.score),
                    *format_difference(difference),
                    _standing(difference),
                    str(len(point.draws)),
                    MISSING if point.rate is None else f"{point.rate:g}",
                    MISSING if point.n_steps is None else str(point.n_steps),
                )
            )
    columns = (
        "way",
        "examples",
        "accuracy",
        INTERVAL,
        "less the best prompt",
        "its interval",
        "verdict",
        "draws",
        "rate",
        "steps",
    )
    note = (
        f"On {task.n_test} test examples, chance {task.chance:.3g}. Intervals of 95 % cover draws of"
        " examples and test examples; differences are paired by test example and draw."
    )
    if task.best_prompt is not None:
        name = name_prompt(task, task.best_prompt)
        note += f" The best prompt is {name}. It was chosen by its test score, so it looks better than it is."
    return Table(
        f"{task.task}: accuracy by number of examples",
        columns,
        tuple(rows),
        frozenset({1, 2, 4, 7, 8, 9}),
        frozenset(flagged),
        note,
    )


def _examples(point: Point) -> str:
    found = f"{point.n:,}" + (", all" if point.is_all else "")
    n_shots = point.n_shots
    return found if n_shots is None or n_shots == point.n else f"{found} (held: {n_shots:.1f})"


def _standing(difference: Difference | None) -> str:
    if difference is None:
        return MISSING
    if not difference.distinguishable:
        return "not distinguishable"
    return ("better" if difference.is_above else "worse") + ("" if difference.after_holm else HOLM)


def cost_rows(task: TaskComparison) -> Table:
    """Return what each way takes to learn and to answer the test examples."""
    rows = [
        (
            name_line(line),
            _examples(point),
            f"{point.score.value:.3f}",
            *_cost(point.learn),
            *_cost(point.answer),
            MISSING if point.answer.seconds is None else f"{1e3 * point.answer.seconds / task.n_test:.0f} ms",
        )
        for line in task.lines
        for point in line.points
    ]
    columns = (
        "way",
        "examples",
        "accuracy",
        "tokens to learn",
        "time to learn",
        "tokens to answer",
        "time to answer",
        "a question",
    )
    note = (
        "Mean tokens and median times over draws. Learning: every token goes forward and backward; its time"
        " is without compilation and dev scores. Answering the test examples: tokens that went through the"
        " model, demonstrations and a question's words once for all labels; its time has the compilation of"
        " what was new."
        " A head's answers are not timed by themselves."
    )
    return Table(f"{task.task}: cost", columns, tuple(rows), frozenset(range(1, 8)), note=note)


def _cost(cost: Cost) -> tuple[str, str]:
    return format_count(cost.tokens), MISSING if cost.seconds is None else format_seconds(cost.seconds)


def backward_rows(costs: GradientCosts) -> Table:
    """Return what a gradient costs over a forward pass, by method."""
    rows = [
        (
            m.label,
            format_count(m.n_trainable),
            *format_interval(m.time_ratio.estimate),
            *format_interval(m.vs_base.estimate),
            _ratio(m.memory_ratio),
            _ratio(m.whole_ratio),
            _temporary(m.forward_bytes),
            _temporary(m.gradient_bytes),
        )
        for m in costs.methods
    ]
    columns = (
        "method",
        "trainable",
        "time",
        INTERVAL,
        "over the base's forward",
        INTERVAL,
        "memory",
        "with weights",
        "forward holds",
        "gradient holds",
    )
    note = (
        f"{costs.base}, {costs.batch_size} x {costs.seq_len} tokens: value and gradient"
        f" over the loss alone, in turns, {costs.repeats} rounds (geometric mean, Student's t). Memory:"
        " XLA's temporary bytes of the compiled programs, gradient over forward; with weights: arguments and"
        " outputs too. No optimizer: its moments are 2 numbers more for each that trains."
    )
    return Table(
        "A gradient over a forward pass", columns, tuple(rows), frozenset({1, 2, 4, 6, 7, 8, 9}), note=note
    )


def _ratio(x: float | None) -> str:
    return MISSING if x is None else f"{x:.2f}"


def _temporary(found: ProgramMemory | None) -> str:
    return MISSING if found is None else f"{MEGA * found.temporary:.0f} MB"


def published_rows(found: InContextComparison) -> Table:
    """Return GPT-3's published numbers, in percent: the form, not drawn as ours."""
    rows = tuple((p.task, str(p.few_shot), str(p.fine_tuned)) for p in found.published)
    note = (
        "GPT-3, 175 B parameters; few-shot as Brown et al. 2020 (arXiv 2005.14165), fine-tuned as Hu et al."
        " 2021 (arXiv 2106.09685). Percent."
    )
    return Table("As published", ("task", "few-shot", "fine-tuned"), rows, frozenset({1, 2}), note=note)


def draw_rows(found: InContextComparison) -> Table:
    """Return the accuracy of every draw."""
    draws = sorted({draw for _, _, point in found.points for draw in point.draws})
    rows = [
        (
            task.task,
            name_line(line),
            _examples(point),
            *(_by_draw(point).get(draw, MISSING) for draw in draws),
            *(MISSING if x is None else f"{x:.2g}" for x in (point.score.seed_sd, point.score.test_se)),
        )
        for task, line, point in found.points
    ]
    columns = ("task", "way", "examples", *(f"draw {d}" for d in draws), "sd of draws", "se by test examples")
    note = f"Score: {found.estimator.score}. Difference: {found.estimator.difference}."
    return Table("By draw of examples", columns, tuple(rows), frozenset(range(2, len(columns))), note=note)


def _by_draw(point: Point) -> dict[int, str]:
    return {draw: f"{score:.3f}" for draw, score in zip(point.draws, point.by_draw, strict=True)}
