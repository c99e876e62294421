"""Laws of groups of runs, such as recipes or methods: shared parameters, replicates with noise and misfit."""
