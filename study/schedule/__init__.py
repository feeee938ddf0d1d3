"""What runs next: a function of the ledger alone. Nothing here but the sampler knows of Ray."""
