"""What could not be sent to the tracking store, sent now: python scripts/sync.py. `--help` lists every key."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("sync")
