"""Train a method from a specification: steps, checkpoints, several processes, and resuming."""
