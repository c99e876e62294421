"""What do steps of three sizes need on GPUs and TPUs?

GPT-2's shape at 3 M, 85 M and 302 M parameters without embeddings, 32 sequences a step. docs/accelerators.md
has the table. These runs are compiled and not trained.

command:         ./launch.sh compile configs/accelerators.py --target h100:1,v5e:2x2 --markdown
expected time:   less than a minute for each target, on two quiet CPU cores
expected answer: all three fit one H100 and four chips of v5e, and attention is fused on both
"""

from lora_jax.config import DataConfig, ModelConfig, OptimConfig, RunConfig

SHAPES = ((256, 4, 4, 512), (768, 12, 12, 1024), (1024, 24, 16, 2048))


def runs() -> list[RunConfig]:
    found = []
    for d_model, n_layers, n_heads, seq_len in SHAPES:
        model = ModelConfig(
            d_model=d_model,
            n_layers=n_layers,
            n_heads=n_heads,
            vocab_size=50_304,
            context=seq_len,
            remat="full" if d_model > 768 else "none",
        )
        data, optim = DataConfig(tokenizer="bpe:50304", seq_len=seq_len), OptimConfig(batch_size=32)
        found.append(RunConfig(model=model, data=data, optim=optim, n_tokens=32 * seq_len * 10_000))
    return found
