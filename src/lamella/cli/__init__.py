"""From a command line to a command: `main` runs Hydra, `messages` puts what it refuses into words."""
