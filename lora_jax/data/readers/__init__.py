"""Files that hold documents, a kind of file each: plain text, JSON lines, Parquet, Arrow."""
