"""Storage that outlives the process: the ledger, mirrors of a remote --out, locks and the cache folder."""
