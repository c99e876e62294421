"""Do activations keep their size as this model grows? A Llama-shaped model in muP, 64 wide, two layers deep.

The rate is large on purpose: at a small one nothing moves, and any parametrisation passes.

command:         ./launch.sh coordinates configs/coordinates_sample.py
expected time:   3 minutes on two CPU cores
expected answer: no change of an activation grows or shrinks by more than about a tenth power of the width
                 from step 3 on. Add model.parametrisation=plain model.base_width=None to see one that fails.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig


def runs() -> list[RunConfig]:
    model = ModelConfig(
        d_model=64,
        n_layers=2,
        n_heads=4,
        vocab_size=512,
        context=64,
        **LLAMA,
        parametrisation="mup",
        base_width=64,
    )
    return [
        RunConfig(
            model=model,
            data=DataConfig(tokenizer="bpe:512", seq_len=64, heldout_tokens=8_192),
            optim=OptimConfig(batch_size=8, learning_rate=1e-2, lr_size_exponent=0),
            n_tokens=100 * 8 * 64,
        )
    ]
