"""How each architecture of Hugging Face names, lays out and configures its weights: one file a family."""
