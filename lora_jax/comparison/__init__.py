"""Fine-tuning methods compared: from the records of a sweep to scores with intervals and a verdict."""
