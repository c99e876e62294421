"""Does the best learning rate move with width, depth and length, and which parametrisation holds it still?

Four parametrisations of one Llama-shaped model. Widths 16 to 128 at two layers, depths 2 to 8 at width 32,
each at six rates and at two lengths (400 and 1,600 steps of 8 x 64 tokens). Heads are 8 wide at every width.
The base of mup and completep is 32 wide and two layers deep, so that at the base they are the standard
model. `standard` has one rate for all sizes here (lr_size_exponent 0): its drift is the exponent that it
needs. The two lengths share a trunk.

command:         ./launch.sh transfer configs/transfer.py
expected time:   35 minutes on two CPU cores
expected answer: plain moves most with width, mup and completep least; with depth only completep stays.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.runs.sweep import chain, expand, over, product, zipped

BASE_WIDTH, BASE_DEPTH, HEAD = 32, 2, 8
WIDTHS, DEPTHS = (16, 32, 64, 128), (4, 8)  # depth 2 is among the widths
STEPS, ROWS, LENGTH = (400, 1600), 8, 64
RATES = [2e-3 * 2.0**power for power in range(6)]

PARAMETRISATIONS = [
    {"model.parametrisation": "standard"},
    {"model.parametrisation": "plain"},
    {"model.parametrisation": "mup", "model.base_width": BASE_WIDTH},
    {"model.parametrisation": "completep", "model.base_width": BASE_WIDTH, "model.base_depth": BASE_DEPTH},
]


def runs() -> list[RunConfig]:
    base = RunConfig(
        model=ModelConfig(
            d_model=BASE_WIDTH,
            n_layers=BASE_DEPTH,
            n_heads=BASE_WIDTH // HEAD,
            vocab_size=512,
            context=LENGTH,
            tied_head=False,
            qk_norm=True,  # or the loss jumps near the best rate, and its curve is no parabola
            **LLAMA,
        ),
        data=DataConfig(tokenizer="bpe:512", seq_len=LENGTH, heldout_tokens=65_536),
        optim=OptimConfig(batch_size=ROWS, warmup_steps=60, lr_size_exponent=0),
        n_tokens=STEPS[0] * ROWS * LENGTH,
    )
    widths = zipped(over("model.d_model", WIDTHS), over("model.n_heads", [w // HEAD for w in WIDTHS]))
    sizes = chain(widths, over("model.n_layers", DEPTHS))
    rates = product(
        over("optim.learning_rate", RATES), over("n_tokens", [steps * ROWS * LENGTH for steps in STEPS])
    )
    return expand(base, product(PARAMETRISATIONS, sizes, rates))
