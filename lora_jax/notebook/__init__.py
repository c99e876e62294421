"""What a notebook uses. Each answer is one object, which shows itself as tables and can draw itself."""
