"""Which way of adapting a pretrained encoder gives the most accuracy for its trainable parameters?

MiniLM (6 layers, 384 wide, 22.7 M parameters) learns whether single sentences of SST-2 are positive or
negative. The methods are full fine-tuning, its top layers, biases, bottleneck adapters in series and in
parallel, prefixes, and LoRA. Each tries its own grid of learning rates with the first seed, and a dev split
chooses the best. That rate then runs with three seeds. They are scored on GLUE's validation set, which
decided nothing.

command:         ./launch.sh fetch minilm && ./launch.sh finetune configs/peft_sst2.py
expected time:   under an hour on two CPU cores (52 minutes beside other work)
expected answer: adapters and LoRA within their intervals of full fine-tuning at 1 % of its parameters, and
                 above top-1 (Houlsby et al. 2019, table 2 and figure 4; Hu et al. 2021, table 2). BitFit and
                 prefixes are in between.
"""

from lora_jax.config import TaskConfig
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig
from lora_jax.peft.methods.adapters import AdapterH, AdapterL, ParallelAdapter
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.subset import BitFit, Full, TopLayers


def sweep() -> FinetuneSweep:
    return FinetuneSweep(
        base="minilm",
        task=TaskConfig(name="sst2", n_train=1000, n_dev=400, max_tokens=64),
        methods={
            "full": Full(),
            "top-1": TopLayers(layers=1, after=True),
            "top-2": TopLayers(layers=2, after=True),
            "BitFit": BitFit(),
            "AdapterH r 16": AdapterH(rank=16),
            "AdapterL r 16": AdapterL(rank=16),
            "parallel r 16": ParallelAdapter(rank=16),
            "prefix 16": Prefix(length=16),
            "LoRA r 1": LoRA(rank=1, alpha=2.0),
            "LoRA r 4": LoRA(rank=4, alpha=8.0),
            "LoRA r 16": LoRA(rank=16, alpha=32.0),
        },
        optim=TuneConfig(batch_size=16, epochs=2, evaluations=2),
        seeds=(0, 1, 2),
    )
