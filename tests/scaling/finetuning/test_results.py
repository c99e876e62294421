"""finetuning.json is read back as it was written, open intervals and doubts included."""

from pathlib import Path

from lora_jax.estimate import Estimate
from lora_jax.scaling.finetuning.documents import read_finetuning, write_finetuning
from lora_jax.scaling.finetuning.results import (
    FORMAT,
    KIND,
    Capacity,
    Cell,
    Crossing,
    Crossover,
    Excess,
    FinetuningReport,
    FormScore,
    HeldOut,
    Knee,
    LawFit,
    MethodResult,
    Need,
    RateChoice,
    Solution,
)
from lora_jax.scaling.results import LeftOutRun
from lora_jax.scaling.verdict import verdict_of

BETA = Estimate(0.3, 0.02, (0.26, 0.34), by="bootstrap")
OPEN = Solution(3.2e5, 1e5, None)


def make_report() -> FinetuningReport:
    """Make a report in which every type occurs."""
    rate = RateChoice((1e-4, 1e-3, 1e-2), (2.0, 1.9, None), 1e-3, False)
    law = LawFit(
        "multiplicative", "L = ...", {"beta": BETA}, 21, 0.012, 0.01, None, 0.02, verdict_of(["few cells"])
    )
    full = MethodResult(
        "full", 40, 2, (Cell({"N": 1e7, "F": 1e5}, 1.9, 3, rate, 1.91),), 1, 0, law, None, None
    )
    lora = MethodResult("LoRA", 3, 0, (), 0, 0, None, "one size only", "no law")
    held = HeldOut("full", "F", {"N": 1e7, "F": 1e6}, Estimate(1.5, None, (1.4, 1.6)), 1.52, -0.013, True)
    form = FormScore(
        "multiplicative", "L = ...", ("E",), 10, (held,), 0.013, {"F": 0.013}, 0.01, None, True, None
    )
    crossing = Crossing({"N": 1e7}, OPEN, "not identified", 1.0, "full")
    return FinetuningReport(
        source="runs.csv",
        command="lora-jax fit",
        law="finetuning-n",
        by=("method",),
        x="N",
        x_column="n_params",
        f_column="finetune_tokens",
        loss_unit="nats per token",
        task=None,
        methods=(full, lora),
        forms=(form,),
        form="multiplicative",
        form_why="It is the only one.",
        crossovers=(Crossover("full", "LoRA", (crossing,), (), (1e4, 1e6)),),
        needs=(Need("full", 1.8, 1e5, OPEN, 0.5, {"FLOPs": OPEN}),),
        capacities=(
            Capacity(
                "LoRA",
                "full",
                (1.0, 4.0),
                {"k": OPEN},
                (Knee({"F": 1e6}, Solution(None, None, None), "none"),),
                (Excess({"F": 1e6}, 4.0, BETA, None),),
                0.3,
                "not identified",
                None,
            ),
        ),
        left_out=(LeftOutRun("a", "diverged"),),
        doubts=("one",),
        notes=("two",),
        kind=KIND,
        format=FORMAT,
    )


def test_a_report_is_read_back_as_it_was(tmp_path: Path) -> None:
    report = make_report()
    write_finetuning(tmp_path, report)
    assert read_finetuning(tmp_path) == report


def test_a_method_apart_takes_no_part() -> None:
    report = make_report()
    assert report.method("full").takes_part
    assert not report.method("LoRA").takes_part
