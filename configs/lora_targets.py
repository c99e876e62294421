"""Which matrices should LoRA adapt: few at a high rank or many at a low one, and how much rank do they need?

These are the questions of tables 5 and 6 of Hu et al. 2021 (arXiv 2106.09685), on SST-2 with MiniLM in place
of GPT-3. First, one budget of 165,888 parameters (0.7 % of the base) goes to q | k | v | o | qk | qv | qkvo |
the MLP | all. That is rank 36 of one attention matrix, 18 of two, 9 of four, and 4 of all six of a block. For
the MLP's two wider matrices it would be 7.2. We take 7, which leaves 2.8 % of the budget unspent. Then come
ranks from 1 to 64 of q, of q and v, and of all.

The scale is s = alpha / rank with one alpha, so that the best learning rate stays where it is as the rank
grows (Schulman et al. 2025, "LoRA Without Regret"). Every method has a grid of rates all the same. The grid
is higher if only q and k move, because in a trial q's best rate was 0.01, the highest of the other grid.

command:         ./launch.sh fetch minilm && ./launch.sh finetune configs/lora_targets.py
expected time:   40 minutes on two CPU cores, over an hour beside other work
expected answer: as in the tables: at an equal budget q or k alone is the worst, and several matrices at a
                 lower rank beat one at a higher. Rank hardly matters once two or more are adapted.
                 Differences of a point stay within the intervals of 872 test sentences and three seeds.
"""

from lora_jax.config import TaskConfig
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig
from lora_jax.peft.methods.lora import LoRA

# A rank of q, k, v or o costs 2 x 384 numbers in each of 6 layers; of up or down 384 + 1536.
BUDGET_RANKS = {"q": 36, "k": 36, "v": 36, "o": 36, "qk": 18, "qv": 18, "qkvo": 9, "mlp": 7, "all": 4}
RANKS = {"q": (1, 4, 64), "qv": (1, 64), "all": (1, 64)}  # beside the budget's own
TARGETS = {"mlp": ("mlp",), "all": ("all",)}  # the other names spell their matrices, a letter each
RATES, SOFTMAX_RATES = (1e-3, 3e-3, 1e-2), (3e-3, 1e-2, 3e-2)


def sweep() -> FinetuneSweep:
    chosen = [*BUDGET_RANKS.items(), *((name, rank) for name, ranks in RANKS.items() for rank in ranks)]
    methods, rates = {}, {}
    for name, rank in chosen:
        label = f"{name} r {rank}"
        methods[label] = LoRA(rank=rank, alpha=8.0, targets=TARGETS.get(name, tuple(name)))
        rates[label] = SOFTMAX_RATES if set(name) <= set("qk") else RATES
    return FinetuneSweep(
        base="minilm",
        task=TaskConfig(name="sst2", n_train=1000, n_dev=400, max_tokens=64),
        methods=methods,
        rates=rates,
        optim=TuneConfig(batch_size=16, epochs=1, evaluations=1),
        seeds=(0, 1, 2),
    )
