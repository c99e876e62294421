"""The code of an installed package as documents. This corpus is there without a network."""

import importlib.metadata
from pathlib import Path

from lora_jax.errors import LoraJaxError, nearest


def find_package_code(name: str) -> list[Path]:
    """Return the Python files of an installed package, in the order of their names in it.

    We find the package by its metadata and do not import it.

    Args:
        name: The name under which it was installed, such as "flax".

    Raises:
        LoraJaxError: The package is not installed, or has no Python files.
    """
    try:
        package = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        known = sorted({found.name for found in importlib.metadata.distributions()})
        raise LoraJaxError(
            f"data.sources names 'package:{name}', and no package of that name is installed"
            f"{nearest(name, known)}: install it, or name another."
        ) from None
    files = sorted(str(file) for file in package.files or [] if file.suffix == ".py")
    paths = [Path(str(package.locate_file(file))) for file in files]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise LoraJaxError(
            f"data.sources names 'package:{name}', whose version {package.version} has no Python files:"
            " name another package."
        )
    return found
