"""What XLA says that a compiled step takes, in bytes; nothing is run.

As a program (PYTHONPATH=. python tests/training/step_memory.py [FILE]) it compiles the cases below, prints
what is predicted over what is measured, and the coefficients of lora_jax/training/cpu_memory.py fitted anew:
least squares of the relative error, none negative, those of d_ff as they are, for d_model and d_ff grow
together here. FILE keeps what was compiled, so that an interrupted fit goes on.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.optimize import nnls

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.data.tasks import Batch
from lora_jax.finetuning.step import init_tuning, make_tune_step
from lora_jax.model.declare import declare
from lora_jax.params import Params, init
from lora_jax.peft.method import Adapted, adapt
from lora_jax.peft.methods.lora import LoRA
from lora_jax.training.cpu_memory import Held, count_kinds, step_bytes, which_held
from lora_jax.training.lanes import compile_step
from lora_jax.training.optimizers.optimizer import make_hyperparams
from lora_jax.training.pretraining import init_pretraining, make_pretraining_step
from lora_jax.training.step import StepInput

KINDS: dict[str, dict[str, Any]] = {"gpt2": {}, "llama": {**LLAMA, "tied_head": False}}
RELATIVE: dict[str, dict[str, Any]] = {  # LaMDA's and Chinchilla's kind
    "t5": dict(positions="t5", mlp="geglu", norm="rmsnorm", bias=False),
    "transformer-xl": dict(positions="transformer_xl", norm="rmsnorm", bias=False),
}
LORA = LoRA(rank=8)
FIXED = ("gelu", "swiglu")


class Case(NamedTuple):
    """One step: (d_model, layers, T, batch, vocabulary), the kind of model, remat, what trains, lanes."""

    size: tuple[int, ...]
    kind: str
    remat: str = "none"
    trains: str = "full"  # or "lora"
    lanes: int = 1


SIZES = [
    (32, 2, 128, 32, 256), (64, 3, 128, 32, 256), (128, 4, 128, 32, 256), (256, 6, 256, 16, 256),
    (64, 8, 64, 16, 256), (64, 4, 64, 16, 4096), (64, 2, 256, 8, 256),
    (64, 12, 64, 16, 4096), (128, 12, 256, 8, 256), (256, 10, 128, 8, 1000),
]  # fmt: skip
CASES = [
    *(Case(size, kind) for size in SIZES for kind in KINDS),
    *(Case(SIZES[i], kind, remat) for i in (2, 3, 7, 8) for kind in KINDS for remat in ("dots", "full")),
    *(Case(SIZES[i], kind, "none", "lora") for i in (1, 2, 7, 8) for kind in KINDS),
    *(Case(SIZES[1], kind, "none", trains, 4) for kind in KINDS for trains in ("full", "lora")),
]


def make_run(d: int, layers: int, seq_len: int, batch: int, vocab: int, **shape: object) -> RunConfig:
    settings: dict[Any, Any] = dict(n_heads=max(1, d // 32)) | shape
    return RunConfig(
        model=ModelConfig(d_model=d, n_layers=layers, vocab_size=vocab, context=seq_len, **settings),
        data=DataConfig(seq_len=seq_len),
        optim=OptimConfig(batch_size=batch),
        n_tokens=10**7,
    )


def run_of(case: Case) -> RunConfig:
    return make_run(*case.size, **{**KINDS, **RELATIVE}[case.kind], remat=case.remat)


def predict(case: Case) -> float:
    run = run_of(case)
    n_adapter = None
    if case.trains == "lora":
        method = LORA.build(run.model)
        n_adapter = sum(method.specs[path].size for path in method.trainable)
    rows, seq_len = run.optim.batch_size, run.data.seq_len
    return step_bytes(run.model, rows, seq_len, lanes=case.lanes, n_adapter=n_adapter)


def measure(case: Case) -> int:
    """Return the peak of a step of pretraining, or of one that trains LoRA's factors on a frozen base."""
    run = run_of(case)
    shape, hyperparams = (run.optim.batch_size, run.data.seq_len), make_hyperparams(run.optim, 1e-3)
    if case.trains == "full":
        return measure_run(run, case.lanes)
    method = LORA.build(run.model)
    adapted = jax.eval_shape(lambda: adapt(init(declare(run.model), 0), method, 0))
    state = jax.eval_shape(lambda: init_tuning(Adapted(draw(adapted.trainable), {}), method, run.optim))
    arrays = [np.zeros(shape, dtype) for dtype in (*["int32"] * 5, "float32")]
    labels = [np.zeros(shape[:1], "int32"), np.zeros(shape[:1], "float32")]
    given = StepInput(Batch(*arrays, *labels), hyperparams, np.zeros(2, np.uint32))
    step = make_tune_step(run.model, LORA, run.optim)
    return _measure(step, state, adapted.frozen, given, case.lanes)


def measure_run(run: RunConfig, lanes: int = 1) -> int:
    """Return the peak of a step of pretraining."""
    state = jax.eval_shape(lambda: init_pretraining(run.model, run.optim, 0))
    windows_BU = np.zeros((run.optim.batch_size, run.data.seq_len + 1), np.int32)
    step = make_pretraining_step(run.model, run.optim)
    return _measure(step, state, {}, StepInput(windows_BU, make_hyperparams(run.optim, 1e-3)), lanes)


def draw(shapes: Any) -> Any:
    return jax.tree.map(lambda one: jax.numpy.zeros(one.shape, one.dtype), shapes)


def _measure(step: Any, state: Any, frozen: Params, given: Any, lanes: int) -> int:
    def widen(tree: Any) -> Any:
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct((lanes, *np.shape(a)), a.dtype), tree)

    if lanes > 1:
        state, given = widen(state), widen(given)
    found = compile_step(step, lanes > 1).lower(state, frozen, {}, given).compile().memory_analysis()
    assert found is not None
    results = found.output_size_in_bytes - found.alias_size_in_bytes
    return found.temp_size_in_bytes + found.argument_size_in_bytes + results


def fit(measured: dict[Case, int]) -> None:
    """Print each set of coefficients as it is and as these measurements have it."""
    sets: dict[Held, list[Case]] = {}
    for case in measured:
        sets.setdefault(which_held(run_of(case).model, case.trains == "lora"), []).append(case)
    for held, cases in sets.items():
        rows, rest = [], []
        for case in cases:
            run = run_of(case)
            kinds = np.array(count_kinds(run.model, run.data.seq_len)) * 4 * run.tokens_per_step * case.lanes
            free = [k > 0 and name not in FIXED for name, k in zip(Held._fields, held, strict=True)]
            predicted = (kinds * np.array(held)).sum()
            known = predict(case) - predicted + (kinds * np.array(held) * ~np.array(free)).sum()
            rows.append(kinds[free] / measured[case])
            rest.append((measured[case] - known) / measured[case])
        found, _ = nnls(np.array(rows), np.array(rest))
        worst = np.abs(np.array(rows) @ found - np.array(rest)).max()
        names = [name for name, is_free in zip(Held._fields, free, strict=True) if is_free]
        print(held, "fitted:", dict(zip(names, found.round(2).tolist(), strict=True)), f"within {worst:.1%}")


def main(file: Path | None) -> None:
    kept = json.loads(file.read_text()) if file is not None and file.exists() else {}
    measured: dict[Case, int] = {}
    for case in CASES:
        name = json.dumps(case)
        kept[name] = kept[name] if name in kept else measure(case)
        measured[case] = kept[name]
        print(f"{predict(case) / kept[name]:.3f} of {kept[name]:,} bytes: {name}", flush=True)
        if file is not None:
            file.write_text(json.dumps(kept))
    fit(measured)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
