"""Whether a new image is like those that a network was trained on."""
