"""What a dashboard is shown of a comparison of methods."""

from lora_jax.commands.finetune import tracked_methods
from tests.report.method_folder import RATES, compare, make_record


def test_methods_with_a_score_are_tracked():
    records = [make_record("Full", rate, 0, [1.0, 0.0, 1.0, 1.0], rate) for rate in RATES]
    found = compare([*records, make_record("BitFit", 1e-3, 0, [], 0.0)])
    columns, [row] = tracked_methods(found)
    method = found.by_label["Full"]
    assert dict(zip(columns, row, strict=True)) == {
        "method": "Full",
        "trainable": method.n_trainable,
        "FLOPs of full": 1.0,
        "learning rate": RATES[-1],
        "seeds": 1,
        "value": 0.75,
        "low": method.finished_score.low,
        "high": method.finished_score.high,
    }
