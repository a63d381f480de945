"""Finished runs compared: python scripts/compare.py experiment=NAME. `--help` lists every key."""

from lamella.cli import main as cli


def run(cfg: "cli.DictConfig") -> None:
    from lamella.commands import compare as comparing  # late: `--help` should not wait for it

    comparing.run(cfg)


if __name__ == "__main__":
    cli.main("compare", run)
