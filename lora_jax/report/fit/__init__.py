"""One law fitted to one table, laws compared, fits by group."""
