"""Does a model learn more from examples in its prompt, or by fine-tuning on them? A first look.

The task, sentiment-sample, comes with lora_jax. SmolLM2-135M answers 60 of its sentences with 0, 4 and 16
examples in the prompt. MiniLM gets a classification head and is fine-tuned, fully and by LoRA, on 16 and 64
examples. The sentences are synthetic, so this is no benchmark. configs/incontext.py asks the question of
SST-2 and RTE, with one base for both ways and every draw, in an hour and a half.

command:         ./launch.sh incontext configs/incontext_sample.py
expected time:   2 minutes on two CPU cores
expected answer: SmolLM2 is well above chance (0.5) with four examples in its prompt. For a new head on
                 MiniLM, 16 to 64 sentences are too few.
"""

from lora_jax.finetuning.config import TuneConfig
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full
from lora_jax.prompting.incontext.config import InContextConfig, ShotPlan, TaskPlan, TunePlan


def comparison() -> InContextConfig:
    return InContextConfig(
        tasks={"films": TaskPlan(name="sentiment-sample", n_dev=40, n_test=60, max_tokens=64)},
        shots=(ShotPlan(base="smollm2", ks=(0, 4, 16), draws=(0, 1)),),
        tunings=(
            TunePlan(
                base="minilm",
                head=True,
                methods={"full": Full(), "LoRA r 8": LoRA(rank=8, alpha=16.0)},
                rates={"full": (1e-4,), "LoRA r 8": (3e-3,)},
                n_train=(16, 64),
                draws=(0,),
                n_steps=20,
                optim=TuneConfig(batch_size=8, epochs=1, evaluations=1),
            ),
        ),
    )
