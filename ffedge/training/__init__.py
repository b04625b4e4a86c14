"""The schedule over layers and epochs, checkpoints, and the records of each layer."""
