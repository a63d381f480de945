"""What `--help` says about a command: how it is typed, its choices, its keys."""

from lamella.config.paths import CONF
from lamella.config.schema import SCHEMAS
from lamella.config.words import meanings, names_at

_USAGE = {
    "train": """Lamella: run, score and compare segmentation experiments.

  python train.py dataset=blood model=ternausnet        one experiment
  python train.py -m model=unet,ternausnet seed=1,2     a sweep: every combination
  python train.py --cfg job                             show the configuration, run nothing""",
    "evaluate": """Lamella: score a finished run's best checkpoint again.

  python scripts/evaluate.py run=ID                        on its own test images
  python scripts/evaluate.py run=ID dataset=blood          on those of another data set
  python scripts/evaluate.py run=ID dataset=folder dataset.images=DIR dataset.masks=DIR part=all""",
    "compare": """Lamella: compare finished runs: table, statistics and one HTML report.

  python scripts/compare.py experiment=blood
  python scripts/compare.py experiment=blood metric=boundary/surface_dice
  python scripts/compare.py experiment=blood 'filter="params.`model.name` = \\"unet\\""'
  python scripts/compare.py runs=[ID,ID]""",
    "prepare_data": """Lamella: fetch, verify, unpack and audit a data set.

  python scripts/prepare_data.py dataset=em                        fetch, unpack, audit
  python scripts/prepare_data.py dataset=blood archive=FILE.zip    from an archive you have
  python scripts/prepare_data.py dataset=blood partial=true        a part of it is enough
  python scripts/prepare_data.py dataset=folder dataset.images=DIR dataset.masks=DIR    audit your own""",
    "tiff_to_png": """Lamella: TIFF images and stacks to numbered PNG files, losslessly.

  python scripts/tiff_to_png.py input=stack.tif output=pictures
  python scripts/tiff_to_png.py input='raw/*.tif' output=pictures eight_bit=true percentiles=[1,99]""",
}


def template(command: str) -> str:
    """The text of a command's `--help`, in which Hydra puts the configuration in place of $CONFIG."""
    found = "\n".join(f"{group}: {', '.join(names)}" for group, names in choices(command).items())
    return f"""{_USAGE[command]}

== Choices (group=choice) ==
{found or "none"}

== Keys (key=value) ==
{meanings(SCHEMAS[command])}

Keys of what was chosen by name are in the configuration below.

== Configuration ==
$CONFIG

Flags: --help, --cfg job, -m (sweep), --info, --hydra-help. `debug=true` shows tracebacks.
"""


def choices(command: str) -> dict[str, list[str]]:
    """The groups that a command composes, each with the names there are."""
    keys = {*names_at("", SCHEMAS[command])}
    # Other commands choose a data set alone by name; what lies deeper than its split follows from other choices.
    mine = keys | {"recipe", "experiment"} if command == "train" else keys & {"dataset"}
    mine |= {"dataset/split"} if "dataset" in mine else set()
    return {group: names_in(group) for group in groups() if group in mine}


def groups() -> list[str]:
    """What is chosen by name: the folders of conf/, those within others, too."""
    return sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*") if path.is_dir())


def names_in(group: str) -> list[str]:
    """The choices of a group; none where there is no such group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))
