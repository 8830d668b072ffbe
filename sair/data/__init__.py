"""Datasets and masks: read or draw them, check them, freeze the splits and read them back."""
