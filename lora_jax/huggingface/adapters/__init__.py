"""Adapters in the format of peft, out and in."""
