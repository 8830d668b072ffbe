"""Files, images, tables, errors and run-time settings: what every other package uses."""
