"""Supervised fine-tuning of a pretrained model by any method, and studies of several methods."""
