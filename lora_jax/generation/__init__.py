"""Text from a model: a cache of keys and values, decoding, and the likelihood of a text."""
