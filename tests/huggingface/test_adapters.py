"""Adapters in and out, against folders that peft wrote (tests/golden/make_golden_peft.py)."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from lora_jax.config import BERT, LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.adapters.exporting import export_adapter
from lora_jax.huggingface.adapters.importing import Imported, import_adapter
from lora_jax.huggingface.checkpoints.folder import Checkpoint, load_folder
from lora_jax.model.transformer import forward
from lora_jax.params import Params, combine
from lora_jax.peft.low_rank_choice import LowRankChoice
from lora_jax.peft.method import MethodConfig, adapt
from lora_jax.peft.methods.dora import DoRA
from lora_jax.peft.methods.ia3 import IA3
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.pissa import PiSSA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.prompt import Prompt

pytestmark = pytest.mark.committed
GOLDEN = Path(__file__).parents[1] / "golden"
BASES = {"llama": "llama", "gpt2": "gpt2", "gpt2_shared": "gpt2", "bert": "bert_classifier"}
SIZES: dict[str, Any] = dict(d_model=16, n_layers=3, n_heads=4, vocab_size=32, context=24)
MODELS: dict[str, ModelConfig] = {
    "gpt2": ModelConfig(**SIZES),
    "llama": ModelConfig(**SIZES, n_kv_heads=2, tied_head=False, **LLAMA),
    "gpt_neox": ModelConfig(**SIZES, positions="rope", parallel_residual=True, tied_head=False),
    "bert": ModelConfig(**SIZES, n_classes=3, **BERT),
}


class Case(NamedTuple):
    """A folder that peft wrote, its base, and what the two compute."""

    folder: Path
    base: Checkpoint
    golden: dict[str, np.ndarray]

    def run(self, imported: Imported, trainable: Params) -> jax.Array:
        config = replace(self.base.config, compute_dtype="float32")
        frozen = {path: weight for path, weight in self.base.params.items() if path not in trainable}
        hooks = imported.method.build(config).hooks
        return forward(config, combine(trainable, frozen), jnp.asarray(self.golden["tokens"]), hooks)


@pytest.fixture(scope="module")
def case() -> Callable[[str], Case]:
    """Return `case(name)`, its base read once."""
    bases: dict[str, Checkpoint] = {}

    def read(name: str) -> Case:
        base, folder = BASES[name], GOLDEN / "peft" / name
        bases[base] = bases.get(base) or load_folder(GOLDEN / "models" / base)
        with np.load(folder / "golden.npz") as file:
            return Case(folder, bases[base], dict(file))

    return read


def draw(config: MethodConfig, model: ModelConfig) -> Params:
    """Return weights of every trainable path, as if trained."""
    method, random = config.build(model), np.random.default_rng(3)
    shapes = {path: method.specs[path].shape for path in sorted(method.trainable)}
    return {p: jnp.asarray(random.uniform(0.1, 0.3, shape), jnp.float32) for p, shape in shapes.items()}


@pytest.mark.parametrize("name", BASES)
def test_an_adapter_of_peft_computes_what_it_did_there(case, name: str) -> None:
    one = case(name)
    imported = import_adapter(one.folder, one.base.model_type, one.base.config)
    run = jax.jit(lambda trainable: one.run(imported, trainable))
    logits = run(imported.trainable | imported.replaced)
    np.testing.assert_allclose(logits, one.golden["logits"], rtol=0, atol=2e-5)


def test_q_and_v_of_one_matrix_come_back_as_two_adapters(case) -> None:
    """B in blocks is two adapters; B that is full is one of q, k and v, whose A is in each of them."""
    blocks, shared = (
        import_adapter(case(name).folder, "gpt2", case(name).base.config) for name in ("gpt2", "gpt2_shared")
    )
    assert isinstance(blocks.method, LoRA)
    assert (blocks.method.rank, blocks.method.alpha, blocks.method.targets) == (4, 8.0, ("q", "v"))
    assert isinstance(shared.method, LoRA)
    assert shared.method.targets == ("q", "k", "v")
    a_q, a_k = (shared.trainable[f"blocks/attn/{name}_lora_a"] for name in "qk")
    np.testing.assert_array_equal(a_q, a_k)


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
def test_training_follows_that_of_torch(case, name: str) -> None:
    """The loss at each of 20 AdamW steps, q and v at rank 4, from the same start on the same tokens."""
    one = case(name)
    imported = import_adapter(one.folder, one.base.model_type, one.base.config)
    labels = one.golden["labels"] if one.base.config.n_classes else one.golden["tokens"][:, 1:]

    def mean_loss(trainable: Params) -> jax.Array:
        logits = one.run(imported, trainable)
        logits = logits if labels.ndim == 1 else logits[:, :-1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(labels)).mean()

    optimizer = optax.adamw(1e-3, weight_decay=0.01)

    @jax.jit
    def step(trainable: Params, state: optax.OptState):
        loss, gradient = jax.value_and_grad(mean_loss)(trainable)
        updates, state = optimizer.update(gradient, state, trainable)
        return optax.apply_updates(trainable, updates), state, loss

    trainable = imported.trainable | imported.replaced  # there the pooler was trained too
    state, losses = optimizer.init(trainable), []
    for _ in one.golden["losses"]:
        trainable, state, loss = step(trainable, state)
        losses.append(float(loss))
    np.testing.assert_allclose(losses, one.golden["losses"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", BASES)
def test_what_peft_wrote_leaves_as_it_came(case, tmp_path: Path, name: str) -> None:
    """The same tensors to the byte, and the same settings."""
    one = case(name)
    imported = import_adapter(one.folder, one.base.model_type, one.base.config)
    export_adapter(
        tmp_path / "a",
        BASES[name],
        one.base.model_type,
        one.base.config,
        imported.method,
        imported.trainable | imported.replaced,
    )
    theirs, ours = (
        load_file(folder / "adapter_model.safetensors") for folder in (one.folder, tmp_path / "a")
    )
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        assert ours[key].dtype == tensor.dtype
        np.testing.assert_array_equal(ours[key], tensor)
    their_fields, our_fields = (
        json.loads((folder / "adapter_config.json").read_text()) for folder in (one.folder, tmp_path / "a")
    )
    assert our_fields.keys() <= their_fields.keys()  # peft warns of a key that it does not know
    for key in our_fields.keys() - {"target_modules", "modules_to_save"}:
        assert our_fields[key] == their_fields[key], key
    assert set(our_fields["target_modules"]) == set(their_fields["target_modules"])
    assert (our_fields.get("modules_to_save") is None) == (their_fields["modules_to_save"] is None)


@pytest.mark.parametrize(
    ("model_type", "config"),
    [
        ("gpt2", LoRA(rank=2)),
        ("gpt2", LoRA(rank=2, targets=("k", "o", "down"), rslora=True, top_layers=2)),
        ("gpt_neox", LoRA(rank=2, targets=("all", "head", "embedding"), ranks=(("v", 3),), dropout=0.1)),
        ("gpt_neox", LoRA(rank=2, targets=("q", "v"), alphas=(("v", 4.0),))),
        ("llama", LoRA(rank=2, alpha=3.0, targets=("mlp", "q"), alphas=(("gate", 5.0),), top_layers=1)),
        ("llama", DoRA(rank=2, targets=("q", "down"))),
        ("bert", LoRA(rank=2, targets=("attention", "down"), top_layers=1)),
        ("bert", DoRA(rank=2, targets=("attention",), rslora=True)),
        *((model_type, IA3()) for model_type in MODELS),
        *((model_type, Prompt(length=3)) for model_type in ("gpt2", "llama")),
        *((model_type, Prefix(length=3)) for model_type in ("gpt2", "llama", "gpt_neox")),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_ours_comes_back_with_the_same_effect(tmp_path: Path, model_type: str, config: MethodConfig) -> None:
    """The same factors A and updates s B, however the config says s; ranks follow from the shapes."""
    model = MODELS[model_type]
    trainable = draw(config, model)
    export_adapter(tmp_path / "a", "base", model_type, model, config, trainable)
    back = import_adapter(tmp_path / "a", model_type, model)
    assert type(back.method) is type(config)
    assert back.trainable.keys() == trainable.keys()
    for path, weight in trainable.items():
        assert back.trainable[path].shape == weight.shape
        wanted, got = np.asarray(weight), np.asarray(back.trainable[path])
        if path.endswith("_lora_b") and isinstance(config, LowRankChoice):
            assert isinstance(back.method, LowRankChoice)
            target = path.removesuffix("_lora_b")
            wanted, got = wanted * config.scale(target), got * back.method.scale(target)
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    if isinstance(config, LowRankChoice):
        assert isinstance(back.method, LowRankChoice)
        assert (back.method.dropout, back.method.top_layers) == (config.dropout, config.top_layers)


def test_dora_of_a_part_keeps_the_norms_of_the_other_parts(case, tmp_path: Path) -> None:
    """peft's magnitudes are of the whole c_attn: where no adapter is, m must be ||W||."""
    base = case("gpt2").base
    config = DoRA(rank=2, targets=("q",))
    trainable = draw(config, base.config)
    with pytest.raises(LoraJaxError, match=r"attn/k, attn/v, .* no base was given"):
        export_adapter(tmp_path / "a", "base", "gpt2", base.config, config, trainable)
    export_adapter(tmp_path / "a", "base", "gpt2", base.config, config, trainable, base.params)
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    magnitude = tensors["base_model.model.transformer.h.1.attn.c_attn.lora_magnitude_vector"]
    with_bytes = load_file(GOLDEN / "models" / "gpt2" / "model.safetensors")
    norms = np.linalg.norm(with_bytes["transformer.h.1.attn.c_attn.weight"], axis=0)
    np.testing.assert_allclose(magnitude[16:], norms[16:], rtol=1e-5)
    np.testing.assert_array_equal(magnitude[:16], trainable["blocks/attn/q_dora_m"][1].reshape(-1))


def test_pissa_leaves_as_a_change_of_the_base(case, tmp_path: Path) -> None:
    """s B A of the export, on the base, is the trained s B A on the remainder that PiSSA trained on."""
    base = case("llama").base
    config = PiSSA(rank=2, targets=("down",))
    method = config.build(base.config)
    trainable, frozen = adapt(base.params, method, 0)
    trainable = {path: weight * 1.5 for path, weight in trainable.items()}
    export_adapter(tmp_path / "a", "base", "llama", base.config, config, trainable, base.params)
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    fields = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    a, b = (
        tensors[f"base_model.model.model.layers.1.mlp.down_proj.lora_{name}.weight"] for name in ("A", "B")
    )
    assert (a.shape[0], fields["r"], fields["init_lora_weights"]) == (4, 4, True)
    a_FR, b_RD = (np.asarray(trainable[f"blocks/mlp/down_lora_{name}"][1]) for name in "ab")
    wanted = np.asarray(frozen["blocks/mlp/down"][1]) + config.scale("blocks/mlp/down") * a_FR @ b_RD
    got = np.asarray(base.params["blocks/mlp/down"][1]) + fields["lora_alpha"] / fields["r"] * (b @ a).T
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)
    with pytest.raises(LoraJaxError, match="no base was given"):
        export_adapter(tmp_path / "b", "base", "llama", base.config, config, trainable)
