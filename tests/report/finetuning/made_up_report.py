"""A study's report by hand: two methods that cross, a third whose law is not to be compared."""

from lora_jax.estimate import Estimate
from lora_jax.scaling.finetuning.claims import make_claims
from lora_jax.scaling.finetuning.forgetting import measure_forgetting
from lora_jax.scaling.finetuning.results import (
    FORMAT,
    KIND,
    Capacity,
    Cell,
    Crossing,
    Crossover,
    FinetuningReport,
    FormScore,
    Knee,
    LawFit,
    MethodResult,
    Need,
    RateChoice,
    Solution,
)
from lora_jax.scaling.finetuning.study_results import FORMAT as STUDY_FORMAT
from lora_jax.scaling.finetuning.study_results import KIND as STUDY_KIND
from lora_jax.scaling.finetuning.study_results import NoLaw, StudyReport, TaskResult
from lora_jax.scaling.results import LeftOutRun
from lora_jax.scaling.verdict import verdict_of
from tests.scaling.finetuning.made_up_study import World, make_study

SIZES, SETS = (10_000.0, 100_000.0), (4_032.0, 16_128.0, 64_512.0)
NASTY = "LoRA <b>r 4</b> $x_1$"


def law_at(n: float, f: float, alpha: float, beta: float) -> float:
    return 1.0 + 20.0 * n**-alpha * f**-beta


def make_method(name: str, alpha: float, beta: float, apart: str | None = None) -> MethodResult:
    def cell(n: float, f: float) -> Cell:
        loss = law_at(n, f, alpha, beta)
        rate = RateChoice((1e-3, 3e-3), (loss, loss * 1.1), 1e-3, True)
        return Cell({"N": n, "F": f}, loss * 1.01, 2, rate, loss)

    params = {
        "A": Estimate(20.0, 1.0, (18.0, 22.0)),
        "beta": Estimate(beta, 0.01, (beta - 0.02, beta + 0.02)),
    }
    law = LawFit(
        "multiplicative", "L = E + A N^-alpha F^-beta", params, 3, 0.01, 0.002, None, 0.2, verdict_of([])
    )
    return MethodResult(
        name,
        24,
        1,
        tuple(cell(n, f) for n in SIZES for f in SETS),
        6,
        0 if apart is None else 2,
        law,
        None,
        apart,
    )


def make_crossing(n: float, f: float | None) -> Crossing:
    if f is None:
        return Crossing({"N": n}, Solution(None, None, None), "none", None, "full")
    return Crossing({"N": n}, Solution(f, f / 3, None), "identified", 1.0, "full")


def make_forms() -> tuple[FormScore, ...]:
    """One that predicted held-out cells, and one that could not be fitted."""
    return (
        FormScore(
            "multiplicative",
            "L = E + A N^-alpha F^-beta",
            (),
            8,
            (),
            0.02,
            {"F": 0.02},
            0.01,
            None,
            True,
            None,
        ),
        FormScore(
            "additive",
            "L = E + A N^-alpha + B F^-beta",
            (),
            10,
            (),
            None,
            {},
            None,
            None,
            False,
            "too few cells",
        ),
    )


def make_capacity() -> Capacity:
    return Capacity(
        "LoRA",
        "full",
        (1.0, 4.0),
        {},
        (Knee({"F": 64512.0}, Solution(3.0, 2.0, None), "identified"),),
        (),
        0.01,
        "identified",
        None,
    )


def make_laws() -> FinetuningReport:
    methods = (
        make_method("full", 0.1, 0.2),
        make_method(NASTY, 0.12, 0.15),
        make_method("top", 0.1, 0.1, "its rates are at an edge"),
    )
    curve = tuple(make_crossing(n, 8_000.0) for n in (5e3, 1e4, 1e5, 3e5))
    return FinetuningReport(
        source="made up",
        command="none",
        law="finetuning-n",
        by=("label",),
        x="N",
        x_column="n_params",
        f_column="finetune_tokens",
        loss_unit="nats per token",
        task="text:code",
        methods=methods,
        forms=make_forms(),
        form="multiplicative",
        form_why="It predicts best.",
        crossovers=(
            Crossover(
                "full",
                NASTY,
                (make_crossing(1e4, 8_000.0), make_crossing(1e5, None)),
                curve,
                (4032.0, 64512.0),
            ),
        ),
        needs=(
            Need("full", 1.9, 64512.0, Solution(2e5, 1e5, 4e5), 2.0, {"FLOPs": Solution(1e12, None, None)}),
        ),
        capacities=(make_capacity(),),
        left_out=(LeftOutRun("run-1", "diverged"),),
        doubts=("few seeds",),
        notes=("a note",),
        kind=KIND,
        format=FORMAT,
    )


def make_report() -> StudyReport:
    runs = make_study(World(forgotten={"full": 0.03}), sizes=(64, 1024), bases=(10_000, 100_000))
    task = TaskResult(
        "text:code",
        "nats per token",
        len(runs),
        1,
        (make_laws(),),
        (NoLaw("finetuning-d", "one D."),),
        make_claims(runs, None),
        measure_forgetting(runs),
    )
    bare = TaskResult("labels", "nats per token", 4, 0, (), (NoLaw("finetuning-n", "one size."),), (), None)
    return StudyReport(
        "made up", "./launch.sh finetune_laws x.py", len(runs), (task, bare), STUDY_KIND, STUDY_FORMAT
    )
