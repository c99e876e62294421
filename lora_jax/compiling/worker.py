"""A process that compiles. It prints one JSON document a line: a step, or what is wrong.

It is a process of its own for two reasons. Environment variables choose the compiler, and JAX reads them
once. And if a compiler needs more memory than the machine has, the system kills its process, which could not
report that itself.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lora_jax.documents import to_document
from lora_jax.errors import LoraJaxError

__all__ = ["ERROR", "HEADER", "STEP", "main"]
ERROR, HEADER, STEP = "error", "header", "step"  # the one key of a line


def main() -> int:
    """Compile the steps of a config. Return 0, or 2 after a line that says what is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--target", required=True)
    parser.add_argument("--mesh")
    arguments = parser.parse_args()
    try:
        compile_config(arguments.config, arguments.overrides, arguments.target, arguments.mesh)
    except LoraJaxError as error:
        _print(ERROR, str(error))
        return 2
    return 0


def compile_config(config: Path, overrides: list[str], named: str, mesh_text: str | None) -> None:
    """Compile every different step of a config, and print each when it is done."""
    import jax

    from lora_jax.compiling import topology
    from lora_jax.compiling.report import compile_runs
    from lora_jax.runs.experiment import load_experiment
    from lora_jax.target import parse_target
    from lora_jax.training.mesh import mesh_of_devices

    target = parse_target(named)
    runs = load_experiment(config, overrides).runs
    mesh = mesh_of_devices(mesh_text, topology.target_devices(target), target.name)
    sizes = ",".join(f"{axis}={size}" for axis, size in mesh.shape.items())
    _print(HEADER, {"mesh": sizes, "jax_version": jax.__version__})
    compile_runs(runs, target, mesh, lambda step: _print(STEP, to_document(step)))


def _print(key: str, value: Any) -> None:
    print(json.dumps({key: value}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
