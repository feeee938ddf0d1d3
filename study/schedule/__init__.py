"""Decide what runs next, as a function of the ledger alone. Only the sampler uses Ray."""
