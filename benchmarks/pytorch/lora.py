"""A training step of LoRA by peft on a checkpoint that transformers loads, as their users write it."""

from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers

from benchmarks.pytorch.machine import cast, describe, peak_bytes, set_up, wait
from benchmarks.pytorch.step import make_optimizer
from benchmarks.side import Work


def work_on_lora(settings: dict[str, Any]) -> Work:
    """Load settings["checkpoint"] and the tokens that lie in settings["folder"]."""
    device = set_up(settings)
    base = transformers.AutoModelForCausalLM.from_pretrained(
        settings["checkpoint"], dtype=torch.float32, attn_implementation="sdpa"
    )
    config = peft.LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        target_modules=settings["targets"],
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(base, config).to(device).train()
    tokens_BT = torch.tensor(np.load(Path(settings["folder"], "tokens.npy"))).long().to(device)
    optimizer = make_optimizer(model, settings["optim"])
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def step(times: int) -> torch.Tensor:
        for _ in range(times):
            optimizer.zero_grad(set_to_none=True)
            with cast(device):
                loss = model(input_ids=tokens_BT, labels=tokens_BT, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, settings["optim"]["clip_norm"])
            optimizer.step()
        wait(device)
        return loss

    facts = {"losses": [float(step(1))], "peft": peft.__version__, **describe()}
    return Work({"step": step}, facts, peak_bytes(device))
