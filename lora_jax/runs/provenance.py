"""Where a result came from: device, library versions, commit of the code."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import lora_jax

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")


def describe_device() -> str:
    """Return the accelerator's name and count, or the processor and its usable cores."""
    import os

    import jax

    devices = jax.devices()
    if devices[0].platform != "cpu":
        return f"{len(devices)} x {devices[0].device_kind}"
    return f"cpu: {platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def describe_versions() -> dict[str, str]:
    """Return the versions of Python, lora-jax and the libraries that matter."""
    return {
        "python": platform.python_version(),
        "lora-jax": lora_jax.__version__,
        **{name: version(name) for name in LIBRARIES},
    }


def describe_commit() -> str | None:
    """Return the commit of the checkout that holds this package, with "-dirty" if files differ.

    None if there is no checkout.
    """
    folder = Path(lora_jax.__file__).resolve().parent
    try:
        text = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None  # an installed package has no checkout
    return text or None
