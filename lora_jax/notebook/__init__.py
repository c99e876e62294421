"""What a notebook uses: one object an answer, which shows itself as tables and draws itself."""
