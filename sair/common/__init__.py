"""Provide files, images, tables, errors and run-time settings for all other packages."""
