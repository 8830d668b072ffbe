"""Draw masks of published families from a seed: ``registry`` lists them (docs/masks.md)."""
