"""What runs next: a pure function of the ledger, of which Ray knows nothing but one sampler."""
