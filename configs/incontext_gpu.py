"""From how many examples on is fine-tuning better than the best prompt? The whole comparison, for a GPU.

configs/incontext.py reduces this for a CPU. Here are every test example and five draws of examples, from 8
examples to all of RTE and 16,384 of SST-2. Every method runs on both models and tasks, with its own grid of
learning rates. The dev split chooses among them at every number of examples.

command:         ./launch.sh incontext configs/incontext_gpu.py
expected time:   some hours on one GPU; not yet measured
expected answer: that of configs/incontext.py, with intervals a third as wide
"""

from lora_jax.finetuning.config import TuneConfig
from lora_jax.peft.method import MethodConfig
from lora_jax.peft.methods.adapters import AdapterH
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full, TopLayers
from lora_jax.prompting.incontext.config import BackwardPlan, InContextConfig, ShotPlan, TaskPlan, TunePlan

METHODS: dict[str, MethodConfig] = {
    "full": Full(),
    "LoRA r 8": LoRA(rank=8, alpha=16.0, targets=("all",)),
    "top-2": TopLayers(layers=2, after=True),
    "AdapterH r 16": AdapterH(rank=16),
}
WORD_RATES = {
    "full": (1e-5, 3e-5, 1e-4),
    "LoRA r 8": (1e-4, 3e-4, 1e-3),
    "top-2": (1e-4, 3e-4, 1e-3),
    "AdapterH r 16": (3e-4, 1e-3, 3e-3),
}
DRAWS = (0, 1, 2, 3, 4)


def comparison() -> InContextConfig:
    optim = TuneConfig(batch_size=8, epochs=3, evaluations=3)
    sizes = (8, 32, 128, 512, 2048, None)
    return InContextConfig(
        tasks={
            "SST-2": TaskPlan(name="sst2", n_pool=16_384, n_dev=400, max_tokens=96),
            "RTE": TaskPlan(name="rte", n_dev=200, max_tokens=256),
        },
        shots=(ShotPlan(base="smollm2", draws=DRAWS),),
        tunings=(
            TunePlan(
                base="smollm2",
                methods=METHODS,
                rates=WORD_RATES,
                n_train=sizes,
                draws=DRAWS,
                optim=optim,
                n_steps=60,
            ),
            TunePlan(
                base="minilm", head=True, methods=METHODS, n_train=sizes, draws=DRAWS, optim=optim, n_steps=60
            ),
        ),
        backward=BackwardPlan(base="smollm2", methods=METHODS, batch_size=8, seq_len=128, repeats=20),
    )
