"""GPT-2's shape in PyTorch as its users write it, with our weights, and its training step.

Pre-norm blocks, one matrix for q, k and v, F.scaled_dot_product_attention, a tied head, fused AdamW,
gradients clipped by their norm: nanoGPT's choices (github.com/karpathy/nanoGPT).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.pytorch.machine import cast, describe, peak_bytes, set_up, wait
from benchmarks.side import Work


class Block(nn.Module):
    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attn_norm, self.mlp_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.o = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.up, self.down = nn.Linear(d_model, 4 * d_model), nn.Linear(4 * d_model, d_model)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        B, T, D = x_BTD.shape
        q, k, v = (
            part.view(B, T, self.n_heads, D // self.n_heads).transpose(1, 2)
            for part in self.qkv(self.attn_norm(x_BTD)).split(D, dim=2)
        )
        mixed_BHTK = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTD = x_BTD + self.o(mixed_BHTK.transpose(1, 2).reshape(B, T, D))
        return x_BTD + self.down(F.gelu(self.up(self.mlp_norm(x_BTD)), approximate="tanh"))


class GPT(nn.Module):
    """Maps windows (B, T + 1) to the mean loss of their T predictions."""

    def __init__(self, d_model: int, n_layers: int, n_heads: int, vocab_size: int, context: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.positions = nn.Embedding(context, d_model)
        self.blocks = nn.ModuleList(Block(d_model, n_heads) for _ in range(n_layers))
        self.final_norm = nn.LayerNorm(d_model)

    def forward(self, windows_BU: torch.Tensor) -> torch.Tensor:
        tokens_BT, targets_BT = windows_BU[:, :-1], windows_BU[:, 1:]
        places = torch.arange(tokens_BT.shape[1], device=windows_BU.device)
        x_BTD = self.tokens(tokens_BT) + self.positions(places)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        logits_BTV = F.linear(self.final_norm(x_BTD), self.tokens.weight)
        return F.cross_entropy(logits_BTV.float().flatten(0, 1), targets_BT.flatten())


def build(weights: Mapping[str, np.ndarray]) -> GPT:
    """Return the model with our weights, of our paths and shapes (docs/architecture.md)."""
    vocab_size, D = weights["embed/tokens"].shape
    n_layers, _, n_heads, _ = weights["blocks/attn/q"].shape
    model = GPT(D, n_layers, n_heads, vocab_size, len(weights["embed/positions"]))
    state = {
        "tokens.weight": weights["embed/tokens"],
        "positions.weight": weights["embed/positions"],
        "final_norm.weight": weights["final_norm/scale"],
        "final_norm.bias": weights["final_norm/bias"],
    }
    for y in range(n_layers):
        block = {p.removeprefix("blocks/"): w[y] for p, w in weights.items() if p.startswith("blocks/")}
        q, k, v = (block[f"attn/{name}"].reshape(D, D) for name in "qkv")
        biases = [block[f"attn/{name}_bias"].reshape(D) for name in "qkv"]
        matrices = {
            "qkv": (np.concatenate([q, k, v], 1), np.concatenate(biases)),
            "o": (block["attn/o"].reshape(D, D), block["attn/o_bias"]),
            "up": (block["mlp/up"], block["mlp/up_bias"]),
            "down": (block["mlp/down"], block["mlp/down_bias"]),
        }
        for name, (matrix, bias) in matrices.items():
            state |= {f"blocks.{y}.{name}.weight": matrix.T, f"blocks.{y}.{name}.bias": bias}
        for name in ("attn_norm", "mlp_norm"):
            state[f"blocks.{y}.{name}.weight"] = block[f"{name}/scale"]
            state[f"blocks.{y}.{name}.bias"] = block[f"{name}/bias"]
    model.load_state_dict({name: torch.tensor(np.ascontiguousarray(w)) for name, w in state.items()})
    return model


def make_optimizer(model: nn.Module, optim: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Return fused AdamW that decays what ours does: what multiplies, so neither biases nor positions."""
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    decays = {name for name, weight in weights.items() if weight.ndim > 1 and "positions" not in name}
    groups = [
        {
            "params": [w for name, w in weights.items() if name in decays],
            "weight_decay": optim["weight_decay"],
        },
        {"params": [w for name, w in weights.items() if name not in decays], "weight_decay": 0.0},
    ]
    betas = (optim["beta1"], optim["beta2"])
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=optim["learning_rate"], betas=betas, eps=optim["eps"], fused=True)


def work_on_step(settings: dict[str, Any]) -> Work:
    """Load what our side left in settings["folder"]; settings["compiled"]: run the model by torch.compile."""
    device = set_up(settings)
    with np.load(Path(settings["folder"], "weights.npz")) as file:
        model = build({path: file[path] for path in file.files}).to(device)
    windows_BU = torch.tensor(np.load(Path(settings["folder"], "windows.npy"))).long().to(device)
    optimizer = make_optimizer(model, settings["optim"])
    run = torch.compile(model) if settings["compiled"] else model
    weights = list(model.parameters())

    def step(times: int) -> torch.Tensor:
        for _ in range(times):
            optimizer.zero_grad(set_to_none=True)
            with cast(device):
                loss = run(windows_BU)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, settings["optim"]["clip_norm"])
            optimizer.step()
        wait(device)
        return loss

    losses = [float(step(1)) for _ in range(settings["n_checked"])]
    return Work({"step": step}, {"losses": losses, **describe()}, peak_bytes(device))
