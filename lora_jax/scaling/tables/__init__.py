"""Tables: read anybody's runs, choose rows, count parameters and FLOPs."""
