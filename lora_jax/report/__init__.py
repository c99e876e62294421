"""What a person sees of a results folder: figures, tables, the page."""
