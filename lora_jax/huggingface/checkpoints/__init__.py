"""Folders of base models: config.json and safetensors, read and written."""
