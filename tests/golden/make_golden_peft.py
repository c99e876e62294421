"""Make tests/golden/peft: adapters that peft wrote, what they compute and how they train.

    pip install torch==2.13.0      (first and pinned, or several GB of CUDA packages arrive with it)
    pip install transformers peft
    python tests/golden/make_golden_peft.py

in an environment of its own; this file imports nothing of lora_jax. The bases are those of
make_golden_models.py, in tests/golden/models. tests/huggingface/test_adapters.py reads a folder of each case,
as save_pretrained wrote it, with golden.npz beside: tokens (4, 16), logits and, of cases that are trained,
the loss in nats before each of 20 AdamW steps on these tokens and, of a classifier, on labels (4,).
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
D_MODEL, VOCAB, N_CLASSES = 16, 64, 3
RANK, ALPHA, N_STEPS, RATE, DECAY = 4, 8, 20, 1e-3, 0.01
Q, V = slice(0, D_MODEL), slice(2 * D_MODEL, 3 * D_MODEL)  # rows of c_attn
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", dict(target_modules=["q_proj", "v_proj"])),
    # q and v as adapters of their own, which share the matrix
    "gpt2": ("gpt2", dict(target_modules=["c_attn"], fan_in_fan_out=True, r=2 * RANK, lora_alpha=2 * ALPHA)),
    "gpt2_shared": ("gpt2", dict(target_modules=["c_attn"], fan_in_fan_out=True)),
    "bert": ("bert_classifier", dict(target_modules=["query", "value"], modules_to_save=["pooler"])),
}
TRAINED = ("llama", "gpt2", "bert")


def make_adapted(base: str, fields: dict[str, Any]) -> Any:
    """Return peft's model with every A and B drawn anew, so that each shows in the logits."""
    import peft
    import torch
    import transformers as t

    is_bert = base == "bert_classifier"
    auto = t.AutoModelForSequenceClassification if is_bert else t.AutoModelForCausalLM
    model = auto.from_pretrained(HERE / "models" / base, dtype=torch.float32, attn_implementation="eager")
    task = "SEQ_CLS" if is_bert else "CAUSAL_LM"
    config = peft.LoraConfig(**{"r": RANK, "lora_alpha": ALPHA, "task_type": task, **fields})
    adapted = peft.get_peft_model(model, config)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for path, parameter in adapted.named_parameters():
            if "lora_" in path:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return adapted.eval()


def separate(adapted: Any) -> None:
    """Keep B of c_attn in two blocks, as separate adapters of q and v have it, in training too."""
    import torch

    mask = torch.zeros(3 * D_MODEL, 2 * RANK)
    mask[Q, :RANK] = 1
    mask[V, RANK:] = 1
    for path, parameter in adapted.named_parameters():
        if "lora_B" in path:
            parameter.data.mul_(mask)
            parameter.register_hook(lambda gradient: gradient * mask)


def train(adapted: Any, tokens: Any, labels: Any) -> np.ndarray:
    """Return the loss before each of the steps."""
    import torch

    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=DECAY)
    losses = []
    for _ in range(N_STEPS):
        loss = adapted(tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def main() -> None:
    """Write every folder."""
    import peft
    import torch
    import transformers

    random = np.random.default_rng(5)
    tokens = torch.as_tensor(random.integers(1, VOCAB, size=(4, 16)))
    labels = torch.as_tensor(random.integers(N_CLASSES, size=4))
    versions = [f"{one.__name__}=={one.__version__.split('+')[0]}" for one in (torch, transformers, peft)]
    for name, (base, fields) in CASES.items():
        folder = HERE / "peft" / name
        shutil.rmtree(folder, ignore_errors=True)
        adapted = make_adapted(base, fields)
        if name == "gpt2":
            separate(adapted)
        adapted.peft_config["default"].base_model_name_or_path = base
        adapted.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        arrays = {"tokens": tokens.numpy().astype(np.int32), "labels": labels.numpy().astype(np.int32)}
        with torch.no_grad():
            arrays["logits"] = adapted(tokens).logits.numpy()
        if name in TRAINED:
            arrays["losses"] = train(adapted, tokens, labels if base == "bert_classifier" else tokens)
            print(name, arrays["losses"][[0, -1]])
        np.savez_compressed(folder / "golden.npz", versions=np.array(versions), **arrays)


if __name__ == "__main__":
    main()
