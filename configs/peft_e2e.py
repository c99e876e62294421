"""Which way of adapting a small language model of our own writes restaurant descriptions best?

In E2E the model reads attributes of a restaurant and writes a sentence. It learns this as next-word
prediction, with the loss on the sentence alone. The base has read only presidents' speeches
(configs/speeches.py), so it has everything about restaurants to learn, and a method's lack of capacity shows.
The dev split's loss chooses the learning rates. BLEU and ROUGE-L score greedy completions.

command:         ./launch.sh finetune configs/peft_e2e.py   (after the base: configs/speeches.py)
expected time:   under an hour on two CPU cores (53 minutes beside other work)
expected answer: full fine-tuning is first, then LoRA and adapters by their parameters. Prefixes are far
                 behind, because a base that does not know the words of the task cannot be steered to them.
"""

from lora_jax.config import TaskConfig
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig
from lora_jax.peft.methods.adapters import AdapterH
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.subset import Full, TopLayers

BASE = "results/speeches/models/d128x4-t3000000-s0-c14d21568d"


def sweep() -> FinetuneSweep:
    return FinetuneSweep(
        base=BASE,
        task=TaskConfig(name="e2e", n_train=400, n_dev=60, n_test=100, max_tokens=192),
        methods={
            "full": Full(),
            "top-1": TopLayers(layers=1, after=True),
            "AdapterH r 32": AdapterH(rank=32),
            "prefix 16": Prefix(length=16),
            "LoRA r 4": LoRA(rank=4, alpha=8.0, targets=("all",)),
            "LoRA r 16": LoRA(rank=16, alpha=32.0, targets=("all",)),
        },
        # Higher than the defaults, as everything about a small model's rates is.
        rates={
            "full": (3e-4, 1e-3, 3e-3),
            "top-1": (1e-3, 3e-3, 1e-2),
            "AdapterH r 32": (3e-3, 1e-2, 3e-2),
            "prefix 16": (1e-2, 3e-2, 1e-1),
            "LoRA r 4": (3e-3, 1e-2, 3e-2),
            "LoRA r 16": (3e-3, 1e-2, 3e-2),
        },
        optim=TuneConfig(batch_size=16, epochs=2, evaluations=2, n_completions=32),
        seeds=(0, 1, 2),
    )
