"""Text from a model: a cache of keys and values, decoding, and how likely a text is."""
