"""Does the best learning rate stay where it is up to 100 M parameters, and in which parametrisation?

The GPU twin of configs/transfer.py: widths 128 to 1,024 at eight layers, depths 16 and 32 at width 256, each
at seven rates and two lengths (1,000 and 4,000 steps of 64 x 1,024 tokens, 66 M and 262 M) on wiki40b/en.
Heads are 64 wide. The base of mup and completep is 256 wide and eight layers deep. Planned, not yet run.

command:         ./launch.sh transfer configs/transfer_gpu.py
expected time:   12 hours on one H100, by the plan: ./launch.sh plan configs/transfer_gpu.py
expected answer: as configs/transfer.py, at an eighth of the size. It would decide whether those drifts hold
                 over 64-fold more parameters.
"""

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig, SourceConfig
from lora_jax.runs.sweep import chain, expand, over, product, zipped

DEVICE = "h100"
BASE_WIDTH, BASE_DEPTH, HEAD = 256, 8, 64
WIDTHS, DEPTHS = (128, 256, 512, 1024), (16, 32)  # depth 8 is among the widths
STEPS, ROWS, LENGTH = (1000, 4000), 64, 1024
RATES = [5e-4 * 2.0**power for power in range(7)]

PARAMETRISATIONS = [
    {"model.parametrisation": "standard"},
    {"model.parametrisation": "plain"},
    {"model.parametrisation": "mup", "model.base_width": BASE_WIDTH},
    {"model.parametrisation": "completep", "model.base_width": BASE_WIDTH, "model.base_depth": BASE_DEPTH},
]

BASE = RunConfig(
    model=ModelConfig(
        d_model=BASE_WIDTH,
        n_layers=BASE_DEPTH,
        n_heads=BASE_WIDTH // HEAD,
        vocab_size=16_384,
        context=LENGTH,
        tied_head=False,
        qk_norm=True,
        **LLAMA,
    ),
    data=DataConfig(
        sources=(SourceConfig(name="tfds:wiki40b/en"),),
        tokenizer="bpe:16384",
        seq_len=LENGTH,
        heldout_fraction=0.005,
        heldout_tokens=2**20,
    ),
    optim=OptimConfig(batch_size=ROWS, warmup_steps=150, lr_size_exponent=0),
    n_tokens=STEPS[0] * ROWS * LENGTH,
)


def runs() -> list[RunConfig]:
    widths = zipped(over("model.d_model", WIDTHS), over("model.n_heads", [w // HEAD for w in WIDTHS]))
    sizes = chain(widths, over("model.n_layers", DEPTHS))
    lengths = over("n_tokens", [steps * ROWS * LENGTH for steps in STEPS])
    return expand(BASE, product(PARAMETRISATIONS, sizes, over("optim.learning_rate", RATES), lengths))
