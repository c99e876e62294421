"""Pretrained models and adapters in the formats of Hugging Face: read them, and write them."""
