"""Folders of base models, config.json and safetensors: read them, and write them."""
