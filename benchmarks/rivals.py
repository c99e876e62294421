"""What a comparison is against: which of PyTorch's ways are here, and whether they compute what we do."""

import importlib.util
import os
import shutil
from collections.abc import Sequence

from lora_jax.errors import LoraJaxError

PACKAGES = ("torch", "transformers", "peft")
FLOAT32_TOLERANCE, BFLOAT16_TOLERANCE = 1e-5, 1e-2  # of the loss at the same weights, relative
HOW_TO_INSTALL = "./launch.sh bench --torch installs it"


def is_here(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) for package in packages)


def require_torch() -> None:
    """Refuse --torch before anything is timed where its packages are not installed."""
    missing = [package for package in PACKAGES if not is_here(package)]
    if missing:
        raise LoraJaxError(
            f"--torch needs {', '.join(PACKAGES)}, and {', '.join(missing)} is not installed:"
            f" {HOW_TO_INSTALL}, unless LORA_JAX_PYTHON names an environment of your own."
        )


def find_compiler() -> str | None:
    """Return the C++ compiler that torch.compile would use on a CPU, None where there is none."""
    return shutil.which(os.environ.get("CXX", "g++"))


def check_losses(what: str, ours: Sequence[float], theirs: Sequence[float], platform: str) -> None:
    """Refuse to compare programs whose losses at the same weights, the first of each, are not the same."""
    tolerance = FLOAT32_TOLERANCE if platform == "cpu" else BFLOAT16_TOLERANCE
    if not abs(ours[0] - theirs[0]) <= tolerance * abs(ours[0]):
        raise LoraJaxError(
            f"{what}: at the same weights our loss is {ours[0]:.7g} and PyTorch's {theirs[0]:.7g}, they must"
            f" agree to {tolerance:g} of it: the two do not compute the same, which is a bug, and no time of"
            " theirs can be compared; leave the section out by --only."
        )
