"""Workers on a cluster or on all GPUs of one machine: submit, start and stop them, and start them again."""
