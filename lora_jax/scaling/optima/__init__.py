"""N* and D* without a law of the loss: Chinchilla's approaches 1 and 2."""
