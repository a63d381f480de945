"""What `--help` says about a command: how it is typed, its choices, its keys."""

import contextlib
import functools
import sys
from pathlib import Path

from hydra.errors import OverrideParseException

from lamella.cli.command_line import read
from lamella.config.paths import CONF, typed
from lamella.config.schema import SCHEMAS
from lamella.config.words import meanings, names_at
from lamella.errors import ConfigError

_USAGE = {
    "train": """Lamella: run, score and compare segmentation experiments.

  {typed} dataset=blood model=ternausnet        one experiment
  {typed} -m model=unet,ternausnet seed=1,2     a sweep: every combination
  {typed} --cfg job                             show the configuration, run nothing""",
    "evaluate": """Lamella: score a finished run's best checkpoint again.

  {typed} run=ID                        on its own test images
  {typed} run=ID dataset=blood          on those of another data set
  {typed} run=ID dataset=folder dataset.images=DIR dataset.masks=DIR part=all""",
    "score": """Lamella: score masks that were made elsewhere, as any method's, for `compare`.

  {typed} masks=DIR name=cellpose run=ID                  of the test images of a finished run
  {typed} masks=DIR name=cellpose masks_suffix=_cp_masks dataset=blood
  {typed} masks=DIR name=ilastik dataset=folder dataset.images=DIR dataset.masks=DIR""",
    "compare": """Lamella: compare finished runs: table, statistics and one HTML report.

  {typed} experiment=blood
  {typed} experiment=blood metric=boundary/surface_dice
  {typed} experiment=[blood,em]             several data sets, and where each method holds
  {typed} experiment=blood 'filter="params.`model.name` = \\"unet\\""'
  {typed} runs=[ID,ID]""",
    "review": """Lamella: find labels to look at again, by networks that never saw the image: all folds of a sweep.

  {typed} experiment=blood
  {typed} runs=[ID,ID,ID,ID,ID]             one a fold (dataset/split=hashed_folds)""",
    "predict": """Lamella: segment new images with what was trained.

  {typed} run=ID input=image.tif output=found
  {typed} run=ID input=folder output=found probability=true
  {typed} runs=[ID,ID,ID] input='raw/*.tif' output=found      an ensemble
  {typed} checkpoint=best.ckpt input=stack.tif output=found axes=ZYX
  {typed} model=NAME@champion input=folder output=found""",
    "export": """Lamella: write a trained network for other programs.

  {typed} run=ID output=model.onnx          ONNX: any size, levels as stored in
  {typed} run=ID output=model.pt2           torch.export
  {typed} run=ID output=model.zip           a bioimage.io package""",
    "look": """Lamella: try a trained network on a page in the browser; nothing leaves this machine.

  {typed} run=ID
  {typed} checkpoint=best.ckpt port=8000""",
    "reproduce": """Lamella: run a finished run again, and say whether it came out the same.

  {typed} run=ID
  {typed} run=ID tolerance=0.01             differences up to it count as the same""",
    "sync": """Lamella: send to the tracking store what could not be sent, or was kept offline.

  {typed}
  {typed} run=ID""",
    "tidy": """Lamella: what runs take on disk, and what dead ones left.

  {typed}                                   list
  {typed} remove=true                       and remove leftovers""",
    "prepare_data": """Lamella: fetch, verify, unpack and audit a data set.

  {typed} dataset=em                        fetch, unpack, audit
  {typed} dataset=blood archive=FILE.zip    from an archive you have
  {typed} dataset=blood partial=true        a part of it is enough
  {typed} dataset=folder dataset.images=DIR dataset.masks=DIR    audit your own""",
    "tiff_to_png": """Lamella: TIFF images and stacks to numbered PNG files, losslessly.

  {typed} input=stack.tif output=pictures
  {typed} input='raw/*.tif' output=pictures eight_bit=true percentiles=[1,99]""",
}


def template(command: str) -> str:
    """The text of a command's `--help`, in which Hydra puts the configuration in place of $CONFIG."""
    found = "\n".join(f"{group}: {', '.join(names)}" for group, names in choices(command).items())
    return f"""{_USAGE[command].replace("{typed}", typed(command))}

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
    """The choices of a group, the user's own among them; none where there is no such group."""
    return sorted({path.stem for folder in (CONF, *own_folders()) for path in (folder / group).glob("*.yaml")})


def own_folders() -> list[Path]:
    """The folders with a user's own choices that the command line names; none where it cannot be read."""
    return _own_folders(tuple(sys.argv[1:]))


def refuse_hidden() -> None:
    """Raises ConfigError where a user's own file has the name of one of ours: Hydra would take ours, in silence."""
    for folder in own_folders():
        for ours in sorted(CONF.rglob("*.yaml")) if folder.resolve() != CONF else []:
            file = folder / ours.relative_to(CONF)
            if file.is_file():
                raise ConfigError(
                    f"{file} has the name of a file of Lamella's own, which would be taken in its place",
                    "Rename it; a choice is then taken by its new name, as in model=NAME.",
                )


@functools.cache  # asked for every group of choices
def _own_folders(arguments: tuple[str, ...]) -> list[Path]:
    with contextlib.suppress(ConfigError, OverrideParseException):  # said where the command itself reads it
        return [Path(folder) for folder in read(arguments).folders]
    return []
