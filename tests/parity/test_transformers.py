"""Base checkpoints against transformers, live: what it writes we read, what we write it reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import ModelConfig
from lora_jax.huggingface.checkpoints.folder import load_folder, read_left_out, save_folder
from lora_jax.model.transformer import Inputs, forward
from lora_jax.params import Params
from tests.golden.make_golden_models import CASES, N_GREEDY, N_PROMPT, make_model, run_model, save_model

pytestmark = pytest.mark.parity
TOLERANCE = 2e-5  # of float32 logits of order 1
run = jax.jit(forward, static_argnums=0)


class Live(NamedTuple):
    """A checkpoint of transformers in a folder, and what transformers computes of it."""

    folder: Path
    arrays: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Live]:
    """Return `live(case)`, each checkpoint made once, of weights other than the golden files'."""
    pytest.importorskip("torch", reason="parity with transformers needs torch")
    pytest.importorskip("transformers", reason="parity with transformers needs transformers")
    made: dict[str, Live] = {}

    def make(name: str) -> Live:
        if name not in made:
            seed, case = 100 + len(made), CASES[name]
            model, folder = make_model(case, seed), tmp_path_factory.mktemp(name)
            save_model(case, model, folder)
            made[name] = Live(folder, run_model(case, model, seed))
        return made[name]

    return make


def compute(config: ModelConfig, params: Params, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return our logits, or hidden states of the positions that are not padding."""
    tokens = jnp.asarray(arrays["tokens"])
    if "mask" not in arrays:
        return np.asarray(run(config, params, tokens))
    out = np.asarray(run(config, params, Inputs(tokens, arrays["mask"], types_BT=arrays["types"])))
    return out if out.ndim == 2 else out[arrays["mask"] == 1]


def expect(arrays: dict[str, np.ndarray]) -> np.ndarray:
    logits = arrays["logits"]
    return logits[arrays["mask"] == 1] if "mask" in arrays and logits.ndim == 3 else logits


@pytest.mark.parametrize("name", CASES)
def test_logits_loss_and_greedy_tokens(live: Callable[[str], Live], name: str) -> None:
    folder, arrays = live(name)
    config, params, *_ = load_folder(folder)
    logits = compute(config, params, arrays)
    np.testing.assert_allclose(logits, expect(arrays), rtol=0, atol=TOLERANCE)
    if "loss" not in arrays:
        return
    log_p = logits[:, :-1] - np.logaddexp.reduce(logits[:, :-1].astype(np.float64), -1, keepdims=True)
    loss = -np.take_along_axis(log_p, arrays["tokens"][:, 1:, None], -1).mean()
    assert loss == pytest.approx(float(arrays["loss"]), abs=1e-6)
    buffer = np.pad(arrays["tokens"][:, :N_PROMPT], ((0, 0), (0, N_GREEDY)))
    for position in range(N_PROMPT, N_PROMPT + N_GREEDY):
        buffer[:, position] = np.asarray(run(config, params, jnp.asarray(buffer)))[:, position - 1].argmax(-1)
    np.testing.assert_array_equal(buffer[:, N_PROMPT:], arrays["greedy"])


@pytest.mark.parametrize("keeps_source", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_transformers_reads_what_we_write(
    live: Callable[[str], Live], name: str, keeps_source: bool, tmp_path: Path
) -> None:
    """No key too few or many, and the logits of the checkpoint that we read."""
    folder, arrays = live(name)
    config, params, model_type, source, _, left_out = load_folder(folder)
    saved = save_folder(
        tmp_path / "saved",
        config,
        params,
        model_type,
        source=source if keeps_source else None,
        left_out=read_left_out(folder, left_out),
        shard_bytes=8000 if name == "llama" else 10**9,
    )
    model = read_with_transformers(CASES[name].model, saved)
    np.testing.assert_allclose(run_with_transformers(model, arrays), expect(arrays), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "pythia", "qwen2", "qwen3"])
def test_a_decoder_classifies_as_transformers_does(
    live: Callable[[str], Live], name: str, tmp_path: Path
) -> None:
    """At the last token that is not padding; the classifier is ours, newly drawn."""
    folder, arrays = live(name)
    config, params, model_type, source, new, _ = load_folder(folder, n_classes=3)
    assert new == ("classifier",)
    params["classifier"] = 50 * params["classifier"]  # logits of order 1
    saved = save_folder(tmp_path / "saved", config, params, model_type, source=source, labels=["a", "b", "c"])
    model = read_with_transformers(CASES[name].model.split("For")[0].removesuffix("LMHeadModel"), saved, True)
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    tokens = np.where(arrays["tokens"] == 0, 1, arrays["tokens"])
    tokens[1, -4:] = 0  # padding, by config.json's pad_token_id
    import torch

    with torch.no_grad():
        theirs = model(torch.tensor(tokens).long(), attention_mask=torch.tensor(tokens != 0).long()).logits
    ours = run(config, params, Inputs(jnp.asarray(tokens), jnp.asarray(tokens != 0).astype(int)))
    np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), rtol=0, atol=TOLERANCE)


def read_with_transformers(class_name: str, folder: Path, classifies: bool = False) -> Any:
    import torch
    import transformers

    class_name = class_name + "ForSequenceClassification" if classifies else class_name
    model, report = getattr(transformers, class_name).from_pretrained(
        folder, attn_implementation="eager", output_loading_info=True, dtype=torch.float32
    )
    assert not any(report.values()), report
    return model.eval()


def run_with_transformers(model: Any, arrays: dict[str, np.ndarray]) -> np.ndarray:
    import torch

    asked = {"input_ids": "tokens", "attention_mask": "mask", "token_type_ids": "types"}
    inputs = {theirs: torch.tensor(arrays[ours]).long() for theirs, ours in asked.items() if ours in arrays}
    with torch.no_grad():
        out = model(**inputs)
    logits = (out.logits if "logits" in out else out.last_hidden_state).numpy()
    return logits[arrays["mask"] == 1] if logits.ndim == 3 and "mask" in arrays else logits
