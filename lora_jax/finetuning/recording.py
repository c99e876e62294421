"""The record of a finished fine-tuning run, its adapter and its completions."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from lora_jax.config import ModelConfig
from lora_jax.files import write_atomically
from lora_jax.finetuning.config import finetune_to_dict
from lora_jax.finetuning.feed import unit_rate
from lora_jax.finetuning.loop import FinetuneResult
from lora_jax.finetuning.prepare import Prepared
from lora_jax.metrics import primary_metric
from lora_jax.params import count
from lora_jax.peft.checkpoint import save_adapter
from lora_jax.peft.method import MethodConfig, task_head
from lora_jax.peft.methods import method_to_dict
from lora_jax.peft.methods.subset import Full
from lora_jax.peft.summary import training_flops_per_token
from lora_jax.runs.record import Finetuning, RunRecord
from lora_jax.runs.recording import Facts
from lora_jax.training.optimizers import make_optimizer


def find_facts(result: FinetuneResult, prepared: Prepared) -> Facts:
    """Return what only fine-tuning can say in the record of a finished run."""
    run = result.config
    n_tokens, n_all = int(result.tokens.sum()), int(prepared.train.lengths_N.sum())
    return Facts(
        config=finetune_to_dict(run),
        data=prepared.describe(),
        model=prepared.model,
        seed=run.seed,
        n_tokens=n_tokens,
        unique_tokens=min(n_all, n_tokens),
        epochs=n_tokens / n_all,
        flops_per_token=price(prepared.model, run.method, prepared.mean_length),
        bits_per_byte=result.heldout.bits_per_byte(prepared.bytes_per_token) if result.heldout else None,
        cooled=not result.stopped_early and result.test is not None,
        learning_rate=run.optim.learning_rate,
        n_steps=len(result.losses),
        rate_at=lambda step: run.optim.learning_rate * unit_rate(run.optim, result.planned_steps, step),
        summarise=summarise,
        finetuning=_describe(result, prepared),
    )


def _describe(result: FinetuneResult, prepared: Prepared) -> Finetuning:
    run, method = result.config, result.method
    n_head = count({path: method.specs[path] for path in task_head(method.specs)})
    trained = {path: method.specs[path] for path in method.trainable}
    n_all, optimizer = count(trained), make_optimizer(run.optim.numbers)
    return Finetuning(
        base=run.base,
        base_fingerprint=prepared.fingerprint,
        task=run.task.name,
        label=run.label,
        method=method_to_dict(run.method),
        n_trainable=n_all - n_head,
        n_head=n_head,
        flops_share=price(prepared.model, run.method, prepared.mean_length)
        / price(prepared.model, Full(), prepared.mean_length),
        optimizer_bytes=4 * sum(optimizer.state_arrays(spec) * spec.size for spec in trained.values()),
        metric=primary_metric(prepared.task.kind),
        dev=result.dev.scores if result.dev else {},
        test=result.test.scores if result.test else {},
        test_values=[round(value, 4) for value in result.test.values] if result.test else [],
        kept_step=result.kept_step,
        dev_curve=result.dev_curve,
        stopped_early=result.stopped_early,
        seconds_per_step=result.cost.step_seconds,
    )


def keep_weights(folder: Path, run_id: str, result: FinetuneResult, prepared: Prepared) -> None:
    """Save the adapter and the completions of the test split in a results folder."""
    if result.weights is None:
        return
    save_adapter(adapter_path(folder, run_id), result.weights, result.config.method, prepared.fingerprint)
    if result.completions is not None:
        examples = zip(prepared.task.test, result.completions, strict=False)  # only the first are completed
        lines = [
            json.dumps({"prompt": e.text, "completion": text, "references": e.references})
            for e, text in examples
        ]
        path = folder / "completions" / f"{run_id}.jsonl"
        write_atomically(path, "".join(line + "\n" for line in lines))


def adapter_path(folder: Path, run_id: str) -> Path:
    """Return the path of a run's adapter in a results folder."""
    return folder / "adapters" / f"{run_id}.safetensors"


@lru_cache
def price(model: ModelConfig, method: MethodConfig, seq_len: int) -> float:
    """Return the FLOPs of training on one token with a method."""
    return training_flops_per_token(model, method.build(model), seq_len)


def summarise(record: RunRecord) -> str:
    """Return one line about a finished run."""
    found: Mapping[str, object] = record.finetuning or {}
    what = f"{found['label']}  lr {record.learning_rate:g}  seed {record.seed}"
    if record.status == "halted":
        return f"{what}  halted at step {record.halted_at}: other rates were better on the dev split"
    if record.heldout_loss is None:
        return f"{what}  DIVERGED at step {record.diverged_at}: recorded, and left out of the comparison"
    scores = {name: number["value"] for name, number in (record.finetuning or {})["test"].items()}
    words = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
    beside = f", one of {record.lanes} lanes" if record.lanes > 1 else ""
    return f"{what}  test {words}  {record.wall_seconds:.0f} s{beside}"
