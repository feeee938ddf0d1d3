"""What happens to a batch: sampling, losses, optimizers, checkpoints, several workers."""
