"""How well do ways of adapting a pretrained encoder do? A first look, on a task that comes with lora_jax.

MiniLM (6 layers, 384 wide, 22.7 M parameters) learns whether the 480 sentences of sentiment-sample are
positive or negative: by full fine-tuning, by its biases alone, by bottleneck adapters and by LoRA. Each
method runs at two learning rates with the first seed, and at the better one with two seeds. The sentences
are synthetic, so this is no benchmark (their README says how they were composed). configs/peft_sst2.py asks
the same of SST-2, in an hour.

command:         ./launch.sh fetch minilm && ./launch.sh finetune configs/peft_sample.py
expected time:   3 minutes on two CPU cores
expected answer: full fine-tuning, adapters and LoRA are well above chance (0.5) on words that they have not
                 seen in training. 240 sentences do not distinguish them. Biases alone are behind.
"""

from lora_jax.config import TaskConfig
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig
from lora_jax.peft.methods.adapters import AdapterH
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import BitFit, Full


def sweep() -> FinetuneSweep:
    return FinetuneSweep(
        base="minilm",
        task=TaskConfig(name="sentiment-sample", max_tokens=32),
        methods={
            "full": Full(),
            "BitFit": BitFit(),
            "AdapterH r 16": AdapterH(rank=16),
            "LoRA r 4": LoRA(rank=4, alpha=8.0),
        },
        rates={
            "full": (1e-4, 3e-4),
            "BitFit": (3e-3, 1e-2),
            "AdapterH r 16": (1e-3, 3e-3),
            "LoRA r 4": (3e-3, 1e-2),
        },
        optim=TuneConfig(batch_size=8, epochs=1, evaluations=1),
        seeds=(0, 1),
    )
