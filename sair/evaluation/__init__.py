"""Compare predictions with the ground truth: metrics, FID and KID, checks and statistics."""
