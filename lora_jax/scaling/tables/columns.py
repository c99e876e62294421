"""The names of a run table's columns: which letter each stands for, and what its numbers may be."""

# N by three conventions; the first that a table has is the one its laws read
N_COLUMNS = ("n_params", "n_params_with_head", "n_params_total")
# letter of the papers -> column; N and C may follow another convention (RunTable.n_column, .flops_column)
VARIABLES = {
    "N": "n_params",  # parameters
    "D": "n_tokens",  # training tokens
    "C": "flops",  # training FLOPs
    "S": "n_steps",  # optimizer steps
    "U": "unique_tokens",  # different tokens among the n_tokens
    "F": "finetune_tokens",  # size of the fine-tuning set
    "P": "trainable_params",  # parameters that fine-tuning changes
    "B": "batch_size",  # of a step, in the unit of the table (batches.py)
    "L": "loss",
}
# D of a base model: in a table of fine-tuning runs n_tokens are those of the fine-tuning
PRETRAINING = "pretraining_tokens"
# no law can do without these: a cell that is not a number above 0 is refused
NEEDED = (*N_COLUMNS, "n_tokens", "flops", "flops_exact", "loss")
# the shape of a model, from which N and the exact C follow (counting.py); alternatives are other names for it
SHAPES = ("d_model", "n_layers", "d_ff", "n_heads", "head_dim", "vocab_size", "context")
ALTERNATIVES = {"kv_size": "head_dim", "ffw_size": "d_ff", "seq_len": "context"}
# may be absent, and are left unread, with a note, where a cell is not a number above 0
OPTIONAL = (
    "n_steps", "unique_tokens", "finetune_tokens", "pretraining_tokens", "trainable_params", "loss_se",
    "critical_batch", "batch_size", *SHAPES,
)  # fmt: skip
# any finite number; `learning_rate` stands in for a missing base rate, `error` is a downstream error
LABELS = ("seed", "base_learning_rate", "learning_rate", "error")
POSITIVE = (*NEEDED, *OPTIONAL)
# counts of something, which people write as 1.3B
COUNTS = tuple(name for name in POSITIVE if name not in ("loss", "loss_se"))
# text, not numbers: what unit a run's loss is in
UNIT_COLUMNS = ("loss_unit", "unit")
KNOWN = (*POSITIVE, *LABELS, *UNIT_COLUMNS)
# text that is read elsewhere and may be mapped: what became of a run (statuses.py)
TEXTS = ("status",)

NATS, BITS = "nats per token", "bits per byte"
UNIT_SPELLINGS = {
    NATS: NATS, "nats": NATS, "nats/token": NATS, "nat": NATS,
    BITS: BITS, "bpb": BITS, "bits/byte": BITS, "bits_per_byte": BITS,
}  # fmt: skip
