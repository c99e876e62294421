"""An experiment: a config file. It is a Python module whose `runs()` returns the runs of a sweep."""

import dataclasses
import re
import runpy
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lora_jax import config
from lora_jax.config import RunConfig, run_id
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.names import is_plain
from lora_jax.ranges import show, whole
from lora_jax.runs.signals import Terminated
from lora_jax.runs.sweep import overlay, parse_overrides

LANES = whole(1, 65_536)
MOST_RUNS = 100_000  # most runs that a config may return
MOST_WORDS = 400  # most characters that we show of an error in a config file
MOVED = {"lora_jax.train": "lora_jax.training", "lora_jax.finetune": "lora_jax.finetuning"}  # since 0.2


@dataclass(frozen=True)
class Experiment:
    """The runs of a config file.

    Attributes:
        name: The file's name without its ending.
        question: The file's docstring.
        runs: The runs, with overrides.
        device: The device that estimates are made for, a name of target.DEVICES. None is the present machine.
    """

    name: str
    question: str
    runs: tuple[RunConfig, ...]
    device: str | None = None


def _whole(returned: Any) -> Any:
    """Return what a config's function returned.

    An iterator becomes a list, because it may raise or never end.
    """
    if not isinstance(returned, Iterator):
        return returned
    runs = list(islice(returned, MOST_RUNS + 1))
    if len(runs) > MOST_RUNS:
        raise LoraJaxError(f"the config returns more than {MOST_RUNS:,} runs: return fewer.")
    return runs


def question_of(module: dict[str, Any]) -> str:
    """Return the docstring of a config file, which is the question that it asks."""
    text = module.get("__doc__")
    return text.strip() if isinstance(text, str) else ""


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Load the runs of a config file.

    Args:
        path: The file, such as configs/quickstart.py.
        overrides: `field=value` for each run.

    Raises:
        LoraJaxError: The file returns no runs, or an override does not fit them.
    """
    module, returned = execute_config(path, "runs", "a list of RunConfig", "configs/quickstart.py")
    runs = list(returned) if isinstance(returned, Iterable) else [returned]
    wrong = [item for item in runs if not isinstance(item, RunConfig)]
    if wrong or not runs:
        raise LoraJaxError(
            f"{path}: runs() returned {type(wrong[0]).__name__ if wrong else 'no run'}, but it must return a"
            " list of RunConfig: see configs/quickstart.py."
        )
    device = module.get("DEVICE")
    if not isinstance(device, str | None):
        raise LoraJaxError(
            f"{path}: DEVICE is {device!r}, but it must be the name of an accelerator as text: mend it, or"
            " leave it out."
        )
    point = parse_overrides(overrides)
    changed = {run_id(run): run for run in (overlay(run, point) for run in runs)}
    return Experiment(
        name=path.stem,
        question=question_of(module),
        runs=tuple(changed.values()),
        device=device,
    )


def read_lanes(text: str) -> int | None:
    """Return the number that --lanes gives. None stands for auto."""
    if text == "auto":
        return None
    try:
        return LANES.read("--lanes", text)
    except LoraJaxError:
        raise LoraJaxError(
            f"--lanes is {show(text)}, but it must be {LANES.words}, or auto: 1 trains one run at a time."
        ) from None


def execute_config(path: Path, function: str, wanted: str, example: str) -> tuple[dict[str, Any], Any]:
    """Run a config file and call its function.

    Whatever the file raises is reported as a mistake in it, with its line.

    Args:
        path: The file.
        function: Name of the function to call.
        wanted: What it should return, in words for the message.
        example: A config that does so, for the message.

    Returns:
        The module's names, and what the function returned.

    Raises:
        LoraJaxError: There is no such file or function, or the file raises something.
    """
    if not path.is_file():
        there = sorted(str(other) for other in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise LoraJaxError(f"there is no config file {str(path)!r}{nearest(str(path), there)}.")
    if not is_plain(path.stem):  # its results folder gets this name
        raise LoraJaxError(f"the config file is called {path.name!r}, which names no experiment: rename it.")
    try:
        module = runpy.run_path(str(path))
        if not callable(module.get(function)):
            commands = {
                "runs": "scaling",
                "sweep": "finetune",
                "comparison": "incontext",
                "study": "finetune_laws",
            }
            other = next((name for name in commands if callable(module.get(name))), None)
            hint = (
                f"it has `{other}()`, run it with ./launch.sh {commands[other]}"
                if other is not None
                else f"define one that returns {wanted}, as {example} does"
            )
            raise LoraJaxError(f"{path} has no function `{function}()`: {hint}.")
        return module, _whole(module[function]())
    except (LoraJaxError, KeyboardInterrupt, Terminated):
        raise
    except SyntaxError as error:
        raise LoraJaxError(
            f"{error.filename or path}, line {error.lineno}: {error.msg}: mend the config file."
        ) from error
    except SystemExit as error:
        raise LoraJaxError(
            f"{path} calls exit({error.code!r}), which a config may not: take it out."
        ) from error
    except BaseException as error:  # the file is the user's program, so it may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        words = " ".join(str(error).split())[:MOST_WORDS]
        what = type(error).__name__ + (f": {words}" if words else "") + _nearest_field(error)
        if isinstance(error, ModuleNotFoundError) and error.name in MOVED:
            what += f", which is {MOVED[error.name]} since version 0.2"
        raise LoraJaxError(f"{where}: {what}: mend the config file.") from error


def _nearest_field(error: BaseException) -> str:
    """Return the field that a config's unknown one resembles, as `nearest` says it."""
    found = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    kind = getattr(config, found[1], None) if isinstance(error, TypeError) and found is not None else None
    if found is None or not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        return ""
    return nearest(found[2], [field.name for field in dataclasses.fields(kind)])
