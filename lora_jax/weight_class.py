"""The class of a weight, by which optimizers and parametrisations treat it. It follows from the Spec."""

from enum import StrEnum

from lora_jax.params import LAYERS, Spec

# Axes along which a token, a position or a label chooses one row.
INDEX_AXES = frozenset({"vocab", "position", "type", "bucket", "class", "prefix", "prompt"})


class WeightClass(StrEnum):
    """What a weight does.

    Attributes:
        EMBEDDING: A table whose rows are looked up. An embedding that is also the output head is one.
        MATRIX: The matrix of a product inside the model.
        READOUT: The matrix of a product whose outputs are words or classes.
        VECTOR: Everything else: norms, biases, gains.
    """

    EMBEDDING = "embedding"
    MATRIX = "matrix"
    READOUT = "readout"
    VECTOR = "vector"


def classify(spec: Spec) -> WeightClass:
    """Return the class of a weight."""
    names = [name for name, _ in spec.axes if name != LAYERS]
    if len(names) > 1 and names[0] in INDEX_AXES:
        return WeightClass.EMBEDDING
    if not spec.contract:
        return WeightClass.VECTOR
    return WeightClass.READOUT if INDEX_AXES.intersection(names) else WeightClass.MATRIX
