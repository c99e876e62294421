"""The benchmark: each section is a function that times something and returns a table of figures."""
