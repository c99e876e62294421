"""Fine-tuning methods and targets compared."""
