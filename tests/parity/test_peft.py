"""Adapters that an unmodified peft loads, adapters that it wrote, and training beside it, on tiny models."""

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lora_jax.huggingface.adapters.exporting import export_adapter
from lora_jax.huggingface.adapters.importing import import_adapter
from lora_jax.model.transformer import forward
from lora_jax.params import Params, combine
from lora_jax.peft.method import Method, MethodConfig, adapt
from lora_jax.peft.methods.dora import DoRA
from lora_jax.peft.methods.ia3 import IA3
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.pissa import PiSSA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.prompt import Prompt
from lora_jax.peft.methods.vera import VeRA

pytestmark = pytest.mark.parity
TOLERANCE = 1e-4
EVERY = ("gpt2", "llama", "qwen2", "gpt_neox", "bert")
METHODS: dict[str, tuple[MethodConfig, tuple[str, ...]]] = {
    "q, v": (LoRA(rank=4, alpha=8.0), EVERY),
    "all": (LoRA(rank=4, alpha=8.0, targets=("all",)), EVERY),
    "rslora": (LoRA(rank=2, alpha=3.0, targets=("q", "k", "down"), rslora=True), EVERY),
    "patterns": (
        LoRA(
            rank=2, targets=("q", "v", "o", "down"),
            ranks=(("v", 4), ("o", 3)), alphas=(("q", 5.0), ("down", 7.0)),
        ),
        EVERY,
    ),
    "top": (LoRA(rank=2, targets=("v", "up"), top_layers=2), EVERY),
    "top, named by layer": (LoRA(rank=2, targets=("q", "o", "down"), top_layers=1), EVERY),
    "embedding": (LoRA(rank=2, targets=("q", "embedding", "head")), ("llama", "gpt_neox")),
    "dropout": (LoRA(rank=2, dropout=0.1), ("gpt2", "bert")),
    "dora": (DoRA(rank=3, targets=("q", "o", "up")), EVERY),
    "dora of the embedding": (DoRA(rank=2, targets=("v", "embedding", "head")), ("llama",)),
    "pissa": (PiSSA(rank=2, targets=("q", "v", "down")), EVERY),
    "pissa, top": (PiSSA(rank=2, targets=("v", "down"), top_layers=2, rslora=True), EVERY),
    "vera": (VeRA(rank=8, targets=("q", "v", "down")), ("llama", "qwen2", "bert")),
    "vera, top": (VeRA(rank=8, targets=("up", "o"), top_layers=1), ("gpt2", "bert")),
    "ia3": (IA3(), EVERY),
    "prompt": (Prompt(length=5), ("gpt2", "llama", "qwen2", "gpt_neox")),
    "prefix": (Prefix(length=5, std=0.5), ("gpt2", "llama", "qwen2", "gpt_neox")),
}  # fmt: skip


def disturb(trainable: Params, seed: int = 3) -> Params:
    """Return trained-looking weights: every one moved, so that each shows in the logits."""
    generator = np.random.default_rng(seed)
    return {
        path: weight + jnp.asarray(0.2 * generator.standard_normal(weight.shape), jnp.float32)
        for path, weight in trainable.items()
    }


def ours(tiny: Any, method: Method, trainable: Params) -> np.ndarray:
    config = replace(tiny.config, compute_dtype="float32")
    weights = {**adapt(tiny.params, method, 0).frozen, **trainable}
    run = jax.jit(lambda weights, tokens: forward(config, weights, tokens, method.hooks))
    return np.asarray(run(weights, jnp.asarray(tiny.tokens)))


def theirs(model: Any, tokens: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        logits = model(torch.as_tensor(tokens)).logits.numpy()
    return logits[:, -tokens.shape[1] :] if logits.ndim == 3 else logits  # peft shows those of a prompt too


@pytest.mark.parametrize(
    ("family", "name"), [(f, name) for name, (_, families) in METHODS.items() for f in families]
)
def test_peft_loads_what_we_export(tiny, load_with_peft, tmp_path: Path, family: str, name: str) -> None:
    checkpoint = tiny(family)
    config = METHODS[name][0]
    method = config.build(checkpoint.config)
    trainable = disturb(adapt(checkpoint.params, method, 1).trainable)
    export_adapter(
        tmp_path / "a",
        str(checkpoint.folder),
        family,
        checkpoint.config,
        config,
        trainable,
        checkpoint.params,
    )
    want = ours(checkpoint, method, trainable)
    unadapted = theirs(checkpoint.load(), checkpoint.tokens)
    assert np.abs(want - unadapted).max() > 100 * TOLERANCE
    got = theirs(load_with_peft(checkpoint.load(), tmp_path / "a"), checkpoint.tokens)
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE)
    if isinstance(config, VeRA):  # whose projections are peft's to draw
        return
    back = import_adapter(tmp_path / "a", family, checkpoint.config)
    np.testing.assert_allclose(
        ours(checkpoint, back.method.build(checkpoint.config), back.trainable), want, rtol=0, atol=TOLERANCE
    )


IMPORTED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "fused": (dict(target_modules=["c_attn", "mlp.c_proj"], fan_in_fan_out=True), ("gpt2",)),
    "fused by heads": (dict(target_modules=["query_key_value"]), ("gpt_neox",)),
    "all-linear": (dict(target_modules="all-linear"), ("gpt2", "llama", "qwen2", "gpt_neox")),
    "expression": (dict(target_modules=r".*\.(q_proj|down_proj)"), ("llama", "qwen2")),
    "last layers": (dict(target_modules=["v_proj", "up_proj"], layers_to_transform=[1, 2]), ("llama",)),
    "patterns": (
        dict(target_modules=["q_proj", "o_proj"], rank_pattern={"o_proj": 2}, alpha_pattern={"q_proj": 5}),
        ("qwen2",),
    ),
    "rslora": (dict(target_modules=["query", "intermediate.dense"], use_rslora=True), ("bert",)),
    "pooler": (dict(target_modules=["value"], modules_to_save=["pooler"]), ("bert",)),
    "dora": (dict(target_modules=["c_attn"], use_dora=True, fan_in_fan_out=True), ("gpt2",)),
    "ia3": (
        dict(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]), ("llama",)
    ),
    "ia3 fused": (
        dict(target_modules=["query_key_value", "dense_4h_to_h"], feedforward_modules=["dense_4h_to_h"]),
        ("gpt_neox",),
    ),
    "embedding and head": (dict(target_modules=["embed_tokens", "lm_head", "v_proj"]), ("llama",)),
    "prompt": (dict(num_virtual_tokens=4), ("gpt2", "llama")),
    "prefix": (dict(num_virtual_tokens=4), ("gpt2", "llama", "qwen2", "gpt_neox")),
}  # fmt: skip
CONFIGS = {"ia3": "IA3Config", "ia3 fused": "IA3Config", "prompt": "PromptTuningConfig"}
CONFIGS |= {"prefix": "PrefixTuningConfig"}


def write_with_peft(tiny: Any, name: str, folder: Path) -> np.ndarray:
    """Let peft adapt a model and save the adapter, all of it drawn anew; return its logits."""
    import peft
    import torch

    task = "SEQ_CLS" if tiny.is_classifier else "CAUSAL_LM"
    kind = getattr(peft, CONFIGS.get(name, "LoraConfig"))
    ranks = {} if name in CONFIGS else {"r": 4, "lora_alpha": 8}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what peft says when it writes is not our business
        model = peft.get_peft_model(tiny.load(), kind(task_type=task, **ranks, **IMPORTED[name][0]))
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for path, weight in model.named_parameters():
                if any(one in path for one in ("lora_", "ia3_l", "prompt_encoder", "modules_to_save")):
                    weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
                if "query_key_value.ia3_l" in path:  # q has no scale here
                    per_head = weight.view(tiny.config.n_heads, 3, -1)
                    per_head[:, 0] = 1
        model.eval().save_pretrained(folder)
        return theirs(model, tiny.tokens)


@pytest.mark.parametrize(
    ("family", "name"), [(f, n) for n, (_, families) in IMPORTED.items() for f in families]
)
def test_we_load_what_peft_wrote(tiny, tmp_path: Path, family: str, name: str) -> None:
    checkpoint = tiny(family)
    want = write_with_peft(checkpoint, name, tmp_path)
    imported = import_adapter(tmp_path, family, checkpoint.config)
    got = ours(checkpoint, imported.method.build(checkpoint.config), imported.trainable | imported.replaced)
    assert np.abs(want - theirs(checkpoint.load(), checkpoint.tokens)).max() > 100 * TOLERANCE
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_twenty_steps_are_those_of_torch(tiny, load_with_peft, tmp_path: Path, family: str) -> None:
    """LoRA on q and v at rank 4, exported at its start, trained on both sides on the same batch."""
    import torch

    checkpoint, config = tiny(family), LoRA(rank=4, alpha=8.0)
    model = replace(checkpoint.config, compute_dtype="float32")
    method = config.build(model)
    trainable, frozen = adapt(checkpoint.params, method, 1)
    export_adapter(tmp_path / "a", str(checkpoint.folder), family, model, config, trainable)
    tokens = checkpoint.tokens
    labels = np.array([0, 2]) if checkpoint.is_classifier else tokens

    def mean_loss(trainable: Params) -> jax.Array:
        logits = forward(model, combine(trainable, frozen), jnp.asarray(tokens), method.hooks)
        wanted = labels if checkpoint.is_classifier else labels[:, 1:]
        logits = logits if checkpoint.is_classifier else logits[:, :-1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(wanted)).mean()

    optimizer = optax.adamw(1e-3, weight_decay=0.01)

    @jax.jit
    def step(trainable: Params, state: optax.OptState):
        loss, gradient = jax.value_and_grad(mean_loss)(trainable)
        updates, state = optimizer.update(gradient, state, trainable)
        return optax.apply_updates(trainable, updates), state, loss

    state, our_losses = optimizer.init(trainable), []
    for _ in range(20):
        trainable, state, loss = step(trainable, state)
        our_losses.append(float(loss))

    adapted = load_with_peft(checkpoint.load(), tmp_path / "a")
    trained = []
    for path, parameter in adapted.named_parameters():
        if "lora_" in path or "modules_to_save" in path:
            parameter.requires_grad_(True)
            trained.append(parameter)
        if "c_attn.lora_B" in path:  # two adapters share the matrix: B stays in its two blocks
            mask = torch.zeros_like(parameter)
            mask[: model.d_model, :4] = 1
            mask[2 * model.d_model :, 4:] = 1
            parameter.register_hook(lambda gradient, mask=mask: gradient * mask)
    torch_optimizer = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.01)
    their_losses = []
    for _ in range(20):
        loss = adapted(torch.as_tensor(tokens), labels=torch.as_tensor(labels)).loss
        torch_optimizer.zero_grad()
        loss.backward()
        torch_optimizer.step()
        their_losses.append(loss.item())
    assert their_losses[0] - their_losses[-1] > 0.01
    np.testing.assert_allclose(our_losses, their_losses, rtol=0, atol=1e-5)


LOADER = """
import logging, sys, warnings
import peft, transformers
from transformers.utils import logging as chatter
chatter.disable_progress_bar()
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1])
peft.PeftModel.from_pretrained(model, sys.argv[2])
"""


def test_a_fresh_python_loads_an_export_and_says_nothing(tiny, tmp_path: Path) -> None:
    checkpoint, config = tiny("gpt2"), LoRA(rank=4)
    trainable = adapt(checkpoint.params, config.build(checkpoint.config), 1).trainable
    folder = tmp_path / "a"
    export_adapter(folder, str(checkpoint.folder), "gpt2", checkpoint.config, config, trainable)
    command = [sys.executable, "-c", LOADER, str(checkpoint.folder), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
