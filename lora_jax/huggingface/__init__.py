"""Pretrained models and adapters in the formats of Hugging Face, in and out."""
