"""What a record of a fine-tuning run has beside what an in-context comparison is about."""

from typing import Any

RUN: dict[str, Any] = {
    "seed": 0,
    "n_params_total": 1000,
    "flops_exact": 1e9,
    "train_loss": 0.5,
    "heldout_loss": 0.6,
    "diverged_at": None,
}
TUNING: dict[str, Any] = {
    "base_fingerprint": "abc",
    "task": "t",
    "n_trainable": 10,
    "n_head": 0,
    "flops_share": 0.7,
    "optimizer_bytes": 80,
    "metric": "accuracy",
    "test": {},
    "kept_step": 10,
    "stopped_early": False,
}


def score(value: float) -> dict[str, Any]:
    """Return a number without an interval."""
    return {"value": value, "se": None, "ci95": None}
