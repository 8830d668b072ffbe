"""Record what made a result: fingerprints of code, digests of inputs, and records of jobs."""
