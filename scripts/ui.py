"""MLflow's pages over the runs: python scripts/ui.py port=5001 store=file.db, or `make ui`. See `--help`."""

from lamella.cli import commands

if __name__ == "__main__":
    commands.run("ui")
