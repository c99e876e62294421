"""Who runs a config, and so where its results go: `lora-jax` in any folder, or a checkout's `./launch.sh`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHIPPED = "quickstart"  # the config that the package has with it, called by its name


@dataclass(frozen=True)
class Caller:
    """program: its name. root: the folder of results/. place: what it is called in a help."""

    program: str
    root: Path
    place: str

    def results(self, name: str) -> Path:
        """Return the results folder of an experiment that is given no other."""
        return self.root / "results" / name

    def spell(self, command: str, config: Path | None, words: Sequence[str]) -> str:
        """Return the command line that is kept with the results; a config below the root has a short path."""
        if config is None:
            return " ".join([self.program, command, *words])
        config, root = config.resolve(), self.root.resolve()
        if config.is_relative_to(root):
            config = config.relative_to(root)
        return " ".join([self.program, command, str(config), *words])


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of a program, with `words`: them as they were typed. argv: None for its own."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_intermixed_args(words)  # overrides may stand before and after the options
    arguments.words = words
    return arguments


INSTALLED = Caller("lora-jax", Path(), "the current folder")


def find_config(config: Path) -> Path:
    """Return the config file that is meant: `quickstart` is the one shipped, unless a file is called so."""
    if str(config) != SHIPPED or config.exists():
        return config
    package = Path(__file__).resolve().parents[1]
    shipped = package / "configs" / f"{SHIPPED}.py"  # of a wheel; a checkout has it beside the package
    return shipped if shipped.exists() else package.parent / "configs" / f"{SHIPPED}.py"
