"""Training: sampling, losses, optimizers, checkpoints, data-parallel workers."""
