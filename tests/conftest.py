"""Settings that every test needs before the libraries are imported."""

import os

# The tests compare with float32 on a CPU; a GPU's tensor cores round differently.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# No test may reach for a network or write into somebody's account.
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ["HF_HUB_OFFLINE"] = "1"
