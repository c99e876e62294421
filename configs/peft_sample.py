"""How is a pretrained encoder adapted, and methods compared? A first look, on a task that ships.

MiniLM (6 layers, 384 wide, 22.7 M parameters) reads the 480 sentences of sentiment-sample, positive or
negative: full fine-tuning, biases alone, bottleneck adapters and LoRA, each at two learning rates with the
first seed, its better one then with two seeds. The sentences are synthetic and no benchmark (their README
says how they were composed). configs/peft_sst2.py asks the same of SST-2, in an hour.

command:         ./launch.sh fetch minilm && ./launch.sh finetune configs/peft_sample.py
expected time:   3 minutes on two CPU cores
expected answer: full fine-tuning, adapters and LoRA well above chance (.5) on words that they have not seen
                 in training, and not told apart by 240 sentences; biases alone behind them.
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
