"""The pages of README.md and docs/: links lead somewhere, files exist, commands compose, rooms are as shown."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import hydra
import pytest

from lamella.cli import main as cli

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "lamella"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HOUSE = (ROOT / "docs" / "house.md").read_text()
_COMMAND = re.compile(r"^    (?:\S*/)?(python (?:train|scripts/\w+)\.py .*?)(?: +# .*)?$", re.MULTILINE)
README, *OTHERS = (set(_COMMAND.findall(page.read_text())) for page in PAGES)
# The README's are run by test_readme.py.
COMMANDS = sorted(command for command in set().union(*OTHERS) - README if "--help" not in command)


def text_of(page: Path) -> str:
    """A page without its blocks of code, where brackets and ticks mean other things."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub lets one link to: its headings, small, without punctuation, hyphens for blanks."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_every_page_can_be_found(page: Path) -> None:
    index = page if page.name == "README.md" else ROOT / "docs" / "README.md"
    assert index != page or "(docs/README.md)" in PAGES[0].read_text()
    assert index == page or f"({page.name})" in index.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_code_exist(page: Path) -> None:
    for line in text_of(page).splitlines():
        if line.endswith("`:"):  # a file that the page itself shows
            continue
        room = re.match(r"\| `(\w+/)` \|", line)  # a room's own files are named without it
        for name in re.findall(r"`([\w/]+\.(?:py|yaml)|(?:conf|src|tests|scripts|tools)/[\w/]*/)`", line):
            full = f"{room[1]}{name}" if room and "/" not in name else name
            if "NAME" in full or "/" not in full:
                continue
            assert (ROOT / full).exists() or (PACKAGE / full).exists(), full


def test_the_house_shows_every_room_and_no_other() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    drawn = HOUSE.partition("    train.py  scripts/")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"(\w+)/", drawn)) == sorted(rooms)
    table = HOUSE.partition("| room of")[2].partition("\n\n")[0].splitlines()[2:]
    assert sorted(name for row in table for name in re.findall(r"`(\w+)/`", row.split("|")[1])) == sorted(rooms)
    for module in {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}:
        assert module in HOUSE, module


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_compose(command: str) -> None:
    cli.register()
    _, script, *words = [word for word in shlex.split(command) if word != "-m"]
    name = Path(script).stem
    place = {"config_path": None} if name in cli.WITHOUT_CHOICES else {"config_dir": str(ROOT / "conf")}
    choices = [[word] if set("[{(") & set(word) else _values(word) for word in words]
    for number in range(max(map(len, choices), default=1)):  # every value of a sweep is in one of them
        chosen = [each[number % len(each)] for each in choices]
        with (hydra.initialize if "config_path" in place else hydra.initialize_config_dir)(**place, version_base="1.3"):
            hydra.compose(name, chosen)


def _values(word: str) -> list[str]:
    """key=a,b -> key=a and key=b."""
    key, _, values = word.partition("=")
    return [f"{key}={value}" for value in values.split(",")]


def test_the_mistake_that_is_shown() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    shown = re.search(r"^    \$ python (train\.py .*)\n    (error: .*)\n      (.*)\n", text, re.MULTILINE)
    assert shown
    done = subprocess.run(
        [sys.executable, *shlex.split(shown[1])], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [shown[2], f"  {shown[3]}"]
