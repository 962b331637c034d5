"""Templates, their comparison and its calibrated thresholds."""
