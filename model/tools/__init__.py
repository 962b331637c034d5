"""Commands that prepare training data, label it, and calibrate what was trained."""
