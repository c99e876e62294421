"""Published language models: how large they are and what they cost."""
