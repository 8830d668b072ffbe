"""Define the networks of this project: the implicit inpainter, its encoders, and the semantic encoders."""
