"""Laws of fine-tuning, of a table (law_*.py) and of a study, which has claims and forgetting besides."""
