"""New images -> files that biologists open: which images, what is written of each, how an interrupted job goes on."""
