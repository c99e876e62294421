"""A canary: XLA's programs for an older processor round otherwise, so that the committed files are met twice.

CI runs the tests marked `committed` once more with `XLA_FLAGS=--xla_cpu_max_isa=SSE4_2`. If that flag changed
no bit, the second run would show nothing. This test would then fail.
"""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.huggingface.checkpoints.folder import load_folder
from lora_jax.model.transformer import forward
from tests.compilation import as_for_use

FLAG = "--xla_cpu_max_isa=SSE4_2"
MODEL = Path(__file__).parents[1] / "golden" / "models" / "llama"
ROUNDING = 2e-5  # of logits of order 1, as tests/huggingface/test_architectures.py allows
ROOT = Path(__file__).parents[2]


def golden_logits() -> np.ndarray:
    """Return the logits (B, T, V) that this process's programs give for the golden tokens."""
    loaded = load_folder(MODEL)
    with np.load(MODEL / "golden.npz") as golden:
        tokens_BT = jnp.asarray(golden["tokens"])
    return np.asarray(jax.jit(forward, static_argnums=0)(loaded.config, loaded.params, tokens_BT))


def run_with(flags: str, path: Path) -> np.ndarray:
    """Return the logits of a process of its own with these flags, which compiles as for use."""
    environment = as_for_use(os.environ) | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, __file__, str(path)], env=environment, check=True, timeout=300)
    return np.load(path)


@pytest.mark.committed
@pytest.mark.slow
def test_an_older_processor_changes_bits_and_no_more(tmp_path: Path) -> None:
    flags = as_for_use(os.environ)["XLA_FLAGS"]
    others = flags.replace(FLAG, "") if FLAG in flags else f"{flags} {FLAG}"
    here, there = (run_with(value, tmp_path / f"{i}.npy") for i, value in enumerate((flags, others)))
    np.testing.assert_allclose(here, there, rtol=0, atol=ROUNDING)
    assert (here != there).any(), f"{FLAG} changes no bit on this processor: the second run shows nothing"


if __name__ == "__main__":
    np.save(sys.argv[1], golden_logits())
