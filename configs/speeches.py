"""Which language model of our own does configs/peft_e2e.py fine-tune?

One model of Llama's shape, 0.8 M parameters, trained on presidents' speeches; configs/peft_e2e.py tunes it.

command:         ./launch.sh scaling configs/speeches.py --keep-models
expected time:   5 minutes on two CPU cores
expected answer: one run (no scaling law can be fitted to it), and results/speeches/models/RUN_ID, a folder
                 that transformers loads and configs/peft_e2e.py starts from.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig


def runs() -> list[RunConfig]:
    return [
        RunConfig(
            model=ModelConfig(d_model=128, n_layers=4, n_heads=4, vocab_size=512, context=256, **LLAMA),
            data=DataConfig(tokenizer="bpe:512", seq_len=128, heldout_tokens=65_536),
            optim=OptimConfig(batch_size=8, warmup_steps=50),
            n_tokens=3_000_000,
        )
    ]
