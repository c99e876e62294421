"""Workers on a cluster or on all of one machine's GPUs: submitted, started, stopped, and started again."""
