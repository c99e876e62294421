"""Greedy completions by transformers' `generate`, as its users write it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.pytorch.machine import describe, peak_bytes, set_up, wait
from benchmarks.side import Work


def work_on_generation(settings: dict[str, Any]) -> Work:
    """Load settings["checkpoint"] and the prompts that lie in settings["folder"]; an action for each batch.

    Nothing ends a text before its n_new tokens, and no token is forbidden.
    """
    device = set_up(settings)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    model = transformers.AutoModelForCausalLM.from_pretrained(
        settings["checkpoint"], dtype=dtype, attn_implementation="sdpa"
    )
    model = model.to(device).eval()
    model.generation_config.eos_token_id = None
    prompts_BT = torch.tensor(np.load(Path(settings["folder"], "prompts.npy"))).long().to(device)
    n_new = settings["n_new"]

    def complete(batch: int) -> torch.Tensor:
        given_BT = prompts_BT[:batch]
        with torch.inference_mode():
            found_BT = model.generate(
                given_BT,
                attention_mask=torch.ones_like(given_BT),
                do_sample=False,
                use_cache=True,
                max_new_tokens=n_new,
                min_new_tokens=n_new,
                pad_token_id=0,
            )
        wait(device)
        return found_BT[:, given_BT.shape[1] :]

    actions = {
        str(batch): lambda times, batch=batch: [complete(batch) for _ in range(times)]
        for batch in settings["batches"]
    }
    tokens = complete(max(settings["batches"])).tolist()
    facts = {"tokens": tokens, "transformers": transformers.__version__, **describe()}
    return Work(actions, facts, peak_bytes(device))
