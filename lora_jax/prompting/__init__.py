"""Tasks as next-word prediction: prompts with and without examples in them, answers scored or generated."""
