"""One experiment: python train.py dataset=blood model=ternausnet. `--help` lists every choice."""

from lamella.cli import main as cli


def run(cfg: "cli.DictConfig") -> float:
    from lamella.commands import train as experiment  # late: torch and friends take seconds, `--help` should not

    return experiment.run(cfg, sweep=cli.sweep_name())


if __name__ == "__main__":
    cli.main("train", run)
