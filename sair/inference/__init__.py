"""Predict: fill a frozen split or one image, and segment it."""
