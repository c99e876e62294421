"""Readers of files that hold documents, one file for each kind: text, JSON lines, Parquet, Arrow, tokens."""
