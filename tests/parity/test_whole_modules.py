"""Adapters with modules saved whole, on every family, tied and not: loaded, exported and merged.

Each adapter is made by peft on a folder of transformers. `attach_adapter` must compute peft's logits; what
`lora-jax export` writes of it must, in peft; and what `lora-jax merge` writes must, in transformers.
"""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax import cli
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.adapters.attaching import attach_adapter
from lora_jax.huggingface.adapters.importing import import_adapter
from lora_jax.huggingface.pretrained import load_pretrained
from lora_jax.model.transformer import forward
from lora_jax.params import combine
from lora_jax.peft.method import adapt
from tests.golden.make_golden_models import CASES, Case, make_model
from tests.prompting.places import make_tokenizer

pytestmark = pytest.mark.parity
TOLERANCE = 1e-4
VOCAB = make_tokenizer().get_vocab_size()
TOKENS = np.random.default_rng(7).integers(VOCAB, size=(2, 12))
EMBEDDINGS = {"gpt2": "wte", "pythia": "embed_in", "bert_classifier": "word_embeddings"}
HEADS = {"pythia": "embed_out"}
TARGETS = {"gpt2": "c_attn", "pythia": "query_key_value", "bert_classifier": "query"}
DECODERS = ("gpt2", "llama", "mistral", "pythia", "qwen2", "qwen3")


class Base(NamedTuple):
    """A folder of transformers with a tokenizer, and the class that loads it."""

    folder: Path
    loader: Any

    def load(self) -> Any:
        return self.loader.from_pretrained(self.folder).eval()

    def compute(self, model: Any) -> np.ndarray:
        import torch

        with torch.no_grad():
            return model(torch.as_tensor(TOKENS)).logits.numpy()


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Base]:
    """Return `bases(family, tied, n_classes)`, each made once."""
    for package in ("torch", "transformers", "peft"):
        pytest.importorskip(package, reason=f"parity with peft needs {package}")
    import transformers as t

    made: dict[tuple[Any, ...], Base] = {}

    def make(family: str, *, tied: bool = False, n_classes: int | None = None) -> Base:
        key = (family, tied, n_classes)
        if key not in made:
            case, folder = CASES[family], tmp_path_factory.mktemp(family)
            fields: dict[str, Any] = case.fields | {"vocab_size": VOCAB}
            name, loader = case.model, t.AutoModelForCausalLM
            if family != "bert_classifier":
                fields["tie_word_embeddings"] = tied
            if n_classes is not None or family == "bert_classifier":
                name, loader = (
                    f"{case.config.removesuffix('Config')}ForSequenceClassification",
                    (t.AutoModelForSequenceClassification),
                )
                fields["num_labels"] = n_classes or 3
            make_model(Case(case.config, name, fields, "float32"), 5).save_pretrained(folder)
            make_tokenizer().save(str(folder / "tokenizer.json"))
            settings = {"eos_token": "</s>", "bos_token": "<s>", "tokenizer_class": "PreTrainedTokenizerFast"}
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
            made[key] = Base(folder, loader)
        return made[key]

    return make


def write_adapter(base: Base, folder: Path, kind: str = "LoraConfig", **fields: Any) -> np.ndarray:
    """Make an adapter with peft, every trained number moved; return its logits, loaded again."""
    import peft
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranks: dict[str, Any] = dict(r=3, lora_alpha=6) if kind == "LoraConfig" else {}
        model = peft.get_peft_model(base.load(), getattr(peft, kind)(**ranks | fields))
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.requires_grad:
                    weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
                if "query_key_value.ia3_l" in name:  # q has no scale here
                    weight.view(2, 3, -1)[:, 0] = 1
                if "c_attn.ia3_l" in name:
                    weight.view(3, -1)[0] = 1
        model.save_pretrained(folder)
        return compute_with_peft(base, folder)


def compute_with_peft(base: Base, folder: Path) -> np.ndarray:
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return base.compute(peft.PeftModel.from_pretrained(base.load(), folder).eval())


def compute_attached(base: Base, adapter: Path) -> np.ndarray:
    n_classes = None if base.loader.__name__ == "AutoModelForCausalLM" else 3
    found = attach_adapter(adapter, load_pretrained(str(base.folder), n_classes=n_classes))
    config, method = found.base.config, found.method.build(found.base.config)
    weights = combine(found.trainable, adapt(found.base.params, method, 0).frozen)
    return np.asarray(forward(config, weights, jnp.asarray(TOKENS), method.hooks))


def check_all(base: Base, adapter: Path, want: np.ndarray, places: Path) -> None:
    """What we compute, what peft computes of our export, and transformers of our merged folder, is `want`."""
    moved = np.abs(want - base.compute(base.load())).max()
    assert moved > 100 * TOLERANCE
    np.testing.assert_allclose(compute_attached(base, adapter), want, rtol=0, atol=TOLERANCE)
    options = [str(adapter), "--base", str(base.folder), "--out"]
    assert cli.main(["export", *options, str(places / "exported")]) == 0
    np.testing.assert_allclose(compute_with_peft(base, places / "exported"), want, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(compute_attached(base, places / "exported"), want, rtol=0, atol=TOLERANCE)
    assert cli.main(["merge", *options, str(places / "merged")]) == 0
    merged = base.compute(base.loader.from_pretrained(places / "merged").eval())
    np.testing.assert_allclose(merged, want, rtol=0, atol=TOLERANCE)


SAVED = {
    "embedding": ("E",),
    "head": ("H",),
    "both": ("E", "H"),
    "both, tied still": ("E", "H"),
    "norms": ("N",),
    "nothing, head adapted": (),
    "nothing, embedding adapted": (),
}


@pytest.mark.parametrize("saved", SAVED)
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("family", DECODERS)
def test_a_language_model(bases, tmp_path: Path, family: str, tied: bool, saved: str) -> None:
    base = bases(family, tied=tied)
    embedding, head = EMBEDDINGS.get(family, "embed_tokens"), "lm_head"
    norm = {"gpt2": "ln_1"}.get(family, "input_layernorm")
    names = {"E": embedding, "H": head, "N": norm}
    target = TARGETS.get(family, "q_proj")
    targets = [target]
    if "adapted" in saved:
        targets = [target, head if "head" in saved else embedding]
    fields: dict[str, Any] = dict(task_type="CAUSAL_LM", target_modules=targets)
    fields["modules_to_save"] = [names[one] for one in SAVED[saved]] or None
    if saved == "both, tied still":
        if not tied:
            pytest.skip("there is nothing to tie")
        fields["ensure_weight_tying"] = True
    want = write_adapter(base, tmp_path / "a", **fields)
    check_all(base, tmp_path / "a", want, tmp_path)


WITH_HEAD: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {}),
    "rslora": ("LoraConfig", dict(use_rslora=True)),
    "dora": ("LoraConfig", dict(use_dora=True)),
    "ia3": ("IA3Config", {}),
}
IA3_TARGETS = {
    "gpt2": (["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
    "pythia": (["query_key_value", "dense_4h_to_h"], ["dense_4h_to_h"]),
    "bert_classifier": (
        ["key", "value", "layer.0.output.dense", "layer.1.output.dense"],
        ["layer.0.output.dense", "layer.1.output.dense"],
    ),
}


@pytest.mark.parametrize("method", WITH_HEAD)
@pytest.mark.parametrize("family", ["gpt2", "llama", "pythia", "qwen3", "bert_classifier"])
def test_a_classifier(bases, tmp_path: Path, family: str, method: str) -> None:
    """Its head and the embedding whole, BERT's pooler too, whatever the method."""
    base = bases(family, n_classes=3)
    head = ["classifier", "pooler"] if family == "bert_classifier" else ["score"]
    kind, fields = WITH_HEAD[method]
    if kind == "IA3Config":
        names, inner = IA3_TARGETS.get(family, (["k_proj", "v_proj", "down_proj"], ["down_proj"]))
        fields = dict(target_modules=names, feedforward_modules=inner)
    else:
        fields = fields | dict(target_modules=[TARGETS.get(family, "q_proj")])
    saved = [*head, EMBEDDINGS.get(family, "embed_tokens")]
    want = write_adapter(base, tmp_path / "a", kind, task_type="SEQ_CLS", modules_to_save=saved, **fields)
    check_all(base, tmp_path / "a", want, tmp_path)


@pytest.mark.parametrize("family", ["gpt2", "llama", "pythia"])
def test_transformers_runs_batches_of_a_merged_classifier(bases, tmp_path: Path, family: str) -> None:
    """Texts of unequal length in one batch: each as it is by itself."""
    import torch
    import transformers as t

    base = bases(family, n_classes=3)
    target = TARGETS.get(family, "q_proj")
    write_adapter(base, tmp_path / "a", task_type="SEQ_CLS", target_modules=[target])
    options = ["--base", str(base.folder), "--out", str(tmp_path / "merged")]
    assert cli.main(["merge", str(tmp_path / "a"), *options]) == 0
    model = t.AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    tokenizer = t.AutoTokenizer.from_pretrained(tmp_path / "merged")
    texts = ["good", "very good indeed", "bad: v"]
    with torch.no_grad():
        batch = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.numpy()
        alone = [model(**tokenizer(text, return_tensors="pt")).logits.numpy()[0] for text in texts]
    np.testing.assert_allclose(batch, alone, rtol=0, atol=TOLERANCE)


def test_a_base_without_a_pooler_is_refused_or_exported_whole(bases, tmp_path: Path) -> None:
    """A pooler that was drawn is nobody else's: an adapter of peft without one is refused."""
    from safetensors.numpy import load_file, save_file

    base = bases("bert_classifier")
    folder = tmp_path / "base"
    folder.mkdir()
    for path in base.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    kept = {
        name: tensor for name, tensor in tensors.items() if "pooler" not in name and "classifier" not in name
    }
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    source = json.loads((folder / "config.json").read_text()) | {"architectures": ["BertModel"]}
    (folder / "config.json").write_text(json.dumps(source))
    bare = Base(folder, base.loader)
    write_adapter(bare, tmp_path / "a", task_type="SEQ_CLS", target_modules=["query"])
    with pytest.raises(LoraJaxError, match="has pooler"):
        compute_attached(bare, tmp_path / "a")
    saved = ["classifier", "pooler"]
    want = write_adapter(
        bare, tmp_path / "b", task_type="SEQ_CLS", target_modules=["query"], modules_to_save=saved
    )
    np.testing.assert_allclose(compute_attached(bare, tmp_path / "b"), want, rtol=0, atol=TOLERANCE)


def test_the_way_of_python_refuses_what_it_cannot_say(bases, tmp_path: Path) -> None:
    """import_adapter returns weights for the base's own config, which a separated head has no place in."""
    base = bases("llama", tied=True)
    write_adapter(base, tmp_path / "a", target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    loaded = load_pretrained(str(base.folder))
    with pytest.raises(LoraJaxError, match="they are one matrix: load both by attach_adapter"):
        import_adapter(tmp_path / "a", loaded.model_type, loaded.config)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_a_resized_vocabulary(bases, tmp_path: Path, family: str, tied: bool) -> None:
    """Refused in words that name it; on the base that was resized and saved, as peft."""
    import peft

    base, grown = bases(family, tied=tied), tmp_path / "grown"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = base.load()
        model.resize_token_embeddings(VOCAB + 8, mean_resizing=False)
        model.save_pretrained(grown)
        config = peft.LoraConfig(r=2, target_modules=[TARGETS.get(family, "q_proj")], init_lora_weights=False)
        peft.get_peft_model(model, config).save_pretrained(tmp_path / "a", save_embedding_layers=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (grown / name).write_bytes((base.folder / name).read_bytes())
    with pytest.raises(LoraJaxError, match=rf"has {VOCAB + 8} rows.*whose vocabulary was resized"):
        compute_attached(base, tmp_path / "a")
    after = Base(grown, base.loader)
    check_all(after, tmp_path / "a", compute_with_peft(after, tmp_path / "a"), tmp_path)
