"""What is kept of a fine-tuning run: its record, its curve, its adapter, its completions."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from lora_jax.config import ModelConfig
from lora_jax.files import write_atomically
from lora_jax.finetune.config import finetune_to_dict
from lora_jax.finetune.feed import unit_rate
from lora_jax.finetune.loop import TuneOutcome
from lora_jax.finetune.prepare import Prepared
from lora_jax.metrics import choose_metric
from lora_jax.params import count
from lora_jax.peft.checkpoint import save_adapter
from lora_jax.peft.method import MethodConfig, task_head
from lora_jax.peft.methods import method_to_dict
from lora_jax.peft.methods.subset import Full
from lora_jax.peft.summary import training_flops_per_token
from lora_jax.runs.record import Finetuning, RunRecord
from lora_jax.runs.recording import Facts, thin_curve
from lora_jax.train.evaluate import HeldOut


def find_facts(outcome: TuneOutcome, prepared: Prepared) -> Facts:
    """Return what only fine-tuning knows of a finished run."""
    run, test = outcome.config, outcome.test
    n_tokens, n_all = int(outcome.tokens.sum()), int(prepared.train.lengths_N.sum())
    seconds = outcome.seconds_per_step
    return Facts(
        config=finetune_to_dict(run),
        data=prepared.describe(),
        model=prepared.model,
        seed=run.seed,
        n_tokens=n_tokens,
        unique_tokens=min(n_all, n_tokens),
        epochs=n_tokens / n_all,
        flops_per_token=price(prepared.model, run.method, prepared.mean_length),
        heldout=HeldOut(test.loss, test.scores["loss"]["se"]) if test else None,
        bits_per_byte=None,
        cooled=not outcome.stopped_early and test is not None,
        learning_rate=run.optim.learning_rate,
        n_steps=len(outcome.losses),
        trained_tokens=n_tokens,
        tokens_per_second=n_tokens / len(outcome.losses) / seconds if seconds else None,
        finetuning=_describe(outcome, prepared),
    )


def _describe(outcome: TuneOutcome, prepared: Prepared) -> Finetuning:
    run, method = outcome.config, outcome.method
    n_head = count({path: method.specs[path] for path in task_head(method.specs)})
    n_all = count({path: method.specs[path] for path in method.trainable})
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
        optimizer_bytes=8 * n_all,
        metric=choose_metric(prepared.task.kind),
        dev=outcome.dev.scores if outcome.dev else {},
        test=outcome.test.scores if outcome.test else {},
        test_values=outcome.test.values if outcome.test else [],
        kept_step=outcome.kept_step,
        stopped_early=outcome.stopped_early,
        seconds_per_step=outcome.step_share,
    )


def keep_weights(folder: Path, run_id: str, outcome: TuneOutcome, prepared: Prepared) -> None:
    """Save the adapter, and the completions of the test split, in a results folder."""
    if outcome.kept is None:
        return
    save_adapter(adapter_path(folder, run_id), outcome.kept, outcome.config.method, prepared.fingerprint)
    if outcome.completions is not None:
        examples = zip(prepared.task.test, outcome.completions, strict=False)  # the first ones
        lines = [
            json.dumps({"prompt": e.text, "completion": text, "references": e.references})
            for e, text in examples
        ]
        path = folder / "completions" / f"{run_id}.jsonl"
        write_atomically(path, "".join(line + "\n" for line in lines))


def adapter_path(folder: Path, run_id: str) -> Path:
    """Return where a run's adapter lies in a results folder."""
    return folder / "adapters" / f"{run_id}.safetensors"


@lru_cache
def price(model: ModelConfig, method: MethodConfig, seq_len: int) -> float:
    """Return the FLOPs of training on one token by a method."""
    return training_flops_per_token(model, method.build(model), seq_len)


def make_curve(outcome: TuneOutcome, flops_per_token: float) -> list[dict[str, float]]:
    """Return the rows of the stored curve; a diverged run's ends at its last finite loss."""
    optim, tokens = outcome.config.optim, outcome.tokens.cumsum()
    return thin_curve(
        outcome.losses[: outcome.diverged_at],
        flops_per_token,
        lambda n_steps: int(tokens[n_steps - 1]),
        lambda step: optim.learning_rate * unit_rate(optim, outcome.planned_steps, step),
    )


def summarise(record: RunRecord) -> str:
    """One line about a finished run."""
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
