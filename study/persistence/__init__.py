"""What outlives the process: the ledger, the folder that mirrors remote storage, and who may write there."""
