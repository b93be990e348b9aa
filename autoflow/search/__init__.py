"""The search: space, sampler, workers, study and ledger."""
