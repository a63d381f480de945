"""A page on this machine to try a trained network on: pictures that are open, and the server that shows them."""
