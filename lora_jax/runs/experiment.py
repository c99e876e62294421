"""An experiment: a config file, which is a Python module whose `runs()` returns the runs of a sweep."""

import runpy
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.config import RunConfig, run_id
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.runs.sweep import overlay, parse_overrides


@dataclass(frozen=True)
class Experiment:
    """The runs of a config file, with the question in its docstring.

    device: the machine that the estimates are made for, where not the present one (see machine.DEVICES).
    """

    name: str
    question: str
    runs: tuple[RunConfig, ...]
    device: str | None = None


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Load configs/NAME.py and lay the command line's `field=value` overrides over each of its runs."""
    module, returned = execute_config(path, "runs", "a list of RunConfig", "configs/quickstart.py")
    runs = list(returned) if isinstance(returned, Iterable) else [returned]
    wrong = [item for item in runs if not isinstance(item, RunConfig)]
    if wrong or not runs:
        raise LoraJaxError(
            f"{path}: runs() returned {type(wrong[0]).__name__ if wrong else 'no run'}, it must return a"
            " list of RunConfig: see configs/quickstart.py."
        )
    point = parse_overrides(overrides)
    changed = {run_id(run): run for run in (overlay(run, point) for run in runs)}
    return Experiment(
        name=path.stem,
        question=(module.get("__doc__") or "").strip(),
        runs=tuple(changed.values()),
        device=module.get("DEVICE"),
    )


def read_lanes(text: str) -> int | None:
    """Return the number that --lanes gives, None for auto."""
    if text == "auto":
        return None
    if not text.lstrip("-").isdecimal() or int(text) < 1:
        raise LoraJaxError(
            f"--lanes is {text!r}, wanted a whole number of at least 1, or auto: 1 trains one run at a time."
        )
    return int(text)


def execute_config(path: Path, function: str, wanted: str, example: str) -> tuple[dict[str, Any], Any]:
    """Run a config file and its function; return its module and what the function returned.

    wanted: what it should return; example: a config that does. Whatever the file raises is a mistake in it,
    told with its line.
    """
    if not path.is_file():
        there = sorted(str(other) for other in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise LoraJaxError(f"there is no config file {str(path)!r}{nearest(str(path), there)}.")
    try:
        module = runpy.run_path(str(path))
        if not callable(module.get(function)):
            commands = {"runs": "scaling", "sweep": "finetune", "comparison": "incontext"}
            other = next((name for name in commands if callable(module.get(name))), None)
            hint = (
                f"it has `{other}()`, run it with ./launch.sh {commands[other]}"
                if other is not None
                else f"define one that returns {wanted}, as {example} does"
            )
            raise LoraJaxError(f"{path} has no function `{function}()`: {hint}.")
        return module, module[function]()
    except (LoraJaxError, KeyboardInterrupt):
        raise
    except SyntaxError as error:
        raise LoraJaxError(
            f"{error.filename or path}, line {error.lineno}: {error.msg}: mend the config file."
        ) from error
    except Exception as error:  # the file is the user's program: it may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        what = " ".join(str(error).split())
        raise LoraJaxError(f"{where}: {type(error).__name__}: {what}: mend the config file.") from error
