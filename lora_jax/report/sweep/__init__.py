"""What a sweep found: fits.json and its runs."""
