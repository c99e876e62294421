"""Adapters in the format of peft: write them, and read them."""
