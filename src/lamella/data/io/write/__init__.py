"""Arrays -> files that microscopists' programs open, with the axes and the pixel size of what they were made of."""
