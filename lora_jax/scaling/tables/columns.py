"""The names of a run table's columns: which letter each stands for, and which numbers it may hold."""

# N by three conventions. Laws read the first one that a table has.
N_COLUMNS = ("n_params", "n_params_with_head", "n_params_total")
# letter in the papers -> column. N and C may follow another convention (RunTable.n_column, .flops_column).
VARIABLES = {
    "N": "n_params",  # parameters
    "D": "n_tokens",  # training tokens
    "C": "flops",  # training FLOPs
    "S": "n_steps",  # optimizer steps
    "U": "unique_tokens",  # how many of the n_tokens are different
    "F": "finetune_tokens",  # size of the fine-tuning set
    "P": "trainable_params",  # parameters that fine-tuning changes
    "B": "batch_size",  # of one step, in the unit of the table (batches.py)
    "L": "loss",
}
# D of a base model. In a table of fine-tuning runs, n_tokens counts what fine-tuning saw.
PRETRAINING = "pretraining_tokens"
# no law can do without these, so we refuse a cell that is not a number above 0
NEEDED = (*N_COLUMNS, "n_tokens", "flops", "flops_exact", "loss")
# the shape of a model, from which N and the exact C follow (counting.py), and other names for its columns
SHAPES = ("d_model", "n_layers", "d_ff", "n_heads", "head_dim", "vocab_size", "context")
ALTERNATIVES = {"kv_size": "head_dim", "ffw_size": "d_ff", "seq_len": "context"}
# these may be absent. If a cell is not a number above 0, we do not read the column, and a note says so.
OPTIONAL = (
    "n_steps",
    "unique_tokens",
    "finetune_tokens",
    "pretraining_tokens",
    "trainable_params",
    "loss_se",
    "critical_batch",
    "batch_size",
    *SHAPES,
)
# any finite number. `learning_rate` serves if there is no base rate. `error` is a downstream error.
LABELS = ("seed", "base_learning_rate", "learning_rate", "error")
POSITIVE = (*NEEDED, *OPTIONAL)
# counts, which people may write as 1.3B
COUNTS = tuple(name for name in POSITIVE if name not in ("loss", "loss_se"))
# text: the unit of a run's loss
UNIT_COLUMNS = ("loss_unit", "unit")
KNOWN = (*POSITIVE, *LABELS, *UNIT_COLUMNS)
# text that may be mapped: what became of a run (statuses.py reads it)
TEXTS = ("status",)

NATS, BITS = "nats per token", "bits per byte"
UNIT_SPELLINGS = {
    NATS: NATS,
    "nats": NATS,
    "nats/token": NATS,
    "nat": NATS,
    BITS: BITS,
    "bpb": BITS,
    "bits/byte": BITS,
    "bits_per_byte": BITS,
}
