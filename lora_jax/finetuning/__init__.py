"""Supervised fine-tuning of a pretrained model by any method, and the comparison of methods."""
