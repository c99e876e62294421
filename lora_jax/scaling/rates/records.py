"""Runs of a results folder, or of a config that has not been trained, as `RateRun`s."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.digests import read_object
from lora_jax.documents import from_document, reading
from lora_jax.errors import LoraJaxError
from lora_jax.identity import flatten
from lora_jax.scaling.rates.grids import AXES, RateRun
from lora_jax.scaling.rates.transfer import RateRuns

RATE, SEED = "optim.learning_rate", "seed"
LOSS_NAME = "held-out loss (nats per token)"
BATCH_NAME = "optim.batch_size (sequences)"


@dataclass(frozen=True)
class RateRecord:
    """What we need of a record, runs/RUN_ID.json."""

    run_id: str
    status: str
    config: Mapping[str, Any]
    n_params: int
    heldout_loss: float | None
    finetuning: Mapping[str, Any] | None = None


def read_folder(folder: Path) -> RateRuns:
    """Read the finished runs of a results folder.

    Raises:
        LoraJaxError: It has no records, a file is damaged, or the runs are of fine-tuning.
    """
    paths = [p for p in sorted((folder / "runs").glob("*.json")) if not p.name.startswith(".")]
    if not paths:
        raise LoraJaxError(f"{folder} has no finished runs: give a config to train, or another folder.")
    again = "delete it and run the sweep again"
    runs, left_out = [], Counter[str]()
    for path in paths:
        document = read_object(path, again)
        with reading(path, again):
            record = from_document(RateRecord, document)
        if record.finetuning is not None:
            raise LoraJaxError(
                f"{folder} holds fine-tuning runs, whose rates `lora-jax finetune` compares: give a sweep of"
                " pretraining runs."
            )
        if record.status not in ("done", "diverged"):
            left_out[record.status] += 1
            continue
        runs.append(rate_run(record.run_id, record.config, record.n_params, record.heldout_loss))
    return RateRuns(str(folder), RATE, LOSS_NAME, tuple(runs), dict(left_out), batch_name=BATCH_NAME)


def rate_run(
    name: str, config: Mapping[str, Any], n_params: int, loss: float | None, trained: bool = True
) -> RateRun:
    """Make a `RateRun` from the configuration of one of our runs.

    Args:
        name: What messages call it.
        config: Its configuration, in plain values.
        n_params: N.
        loss: Its loss.
        trained: Whether it was trained, so that a missing loss means that it diverged.
    """
    flat = flatten(config)
    settings = {k: v for k, v in flat.items() if k not in (RATE, SEED, *AXES.values())}
    return RateRun(
        name=name,
        rate=float(flat[RATE]),
        loss=loss,
        diverged=trained and loss is None,
        sizes={axis: float(flat[path]) for axis, path in AXES.items()},
        settings=settings,
        seed=int(flat[SEED]),
        n_params=float(n_params),
    )
