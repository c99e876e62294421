"""Tasks as next-word prediction: prompts with and without examples, answers scored or generated."""
