"""A data set, ready to train on: python scripts/prepare_data.py dataset=em. `--help` lists every key."""

from lamella.cli import main as cli


def run(cfg: "cli.DictConfig") -> None:
    from lamella.commands import prepare_data as prepare  # late: `--help` should not wait for it

    prepare.run(cfg)


if __name__ == "__main__":
    cli.main("prepare_data", run)
