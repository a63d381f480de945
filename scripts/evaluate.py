"""A finished run scored again, there or on another data set: python scripts/evaluate.py run=ID. See `--help`."""

from lamella.cli import main as cli


def run(cfg: "cli.DictConfig") -> None:
    from lamella.commands import evaluate as evaluation  # late: `--help` should not wait for it

    evaluation.run(cfg)


if __name__ == "__main__":
    cli.main("evaluate", run)
