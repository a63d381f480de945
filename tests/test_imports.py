"""Imports go one way: every room knows only what lies below it, and a few libraries are known to one room alone."""

import ast
from pathlib import Path

import pytest

from lamella.config.paths import CHECKOUT

PACKAGE = CHECKOUT / "src" / "lamella"
# From the ground up. Rooms on one floor know nothing of each other.
FLOORS = [
    {"plaintext"},
    {"errors", "version", "torchvision_ops"},
    {"hardware", "disk"},
    {"config"},
    {"pages"},
    {"data", "models", "losses", "metrics", "statistics"},
    {"splits", "plots", "console", "objects"},
    {"tracking"},
    {"inference"},
    {"training", "evaluation", "novelty", "export"},
    {"model"},
    {"reporting", "prediction"},
    {"viewer"},
    {"commands"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
GROUND = {room for rooms in FLOORS[:4] for room in rooms}


def imports(path: Path) -> set[str]:
    """The modules a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in submodules if _is_module(name)}
            found |= modules | ({node.module} if modules != submodules else set())
    return found


def _is_module(name: str) -> bool:
    place = PACKAGE.parent / name.replace(".", "/")
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


IMPORTS = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): imports(path)
    for path in PACKAGE.rglob("*.py")
}


def room(module: str) -> str:
    """`lamella.data.io.read` -> `data`; "" for `lamella` itself."""
    return module.partition("lamella")[2].strip(".").partition(".")[0]


def users_of(*packages: str) -> set[str]:
    return {m for m, used in IMPORTS.items() if any(u == p or u.startswith(p + ".") for u in used for p in packages)}


def test_every_room_has_its_floor() -> None:
    assert {room(module) for module in IMPORTS} - {""} == FLOOR.keys()


@pytest.mark.parametrize("name", sorted(FLOOR))
def test_a_room_knows_only_what_lies_below_it(name: str) -> None:
    for module, used in IMPORTS.items():
        if room(module) != name:
            continue
        others = {room(each) for each in used if each.startswith("lamella.")} - {name}
        above = {each for each in others if FLOOR[each] >= FLOOR[name]}
        assert not above, f"{module} imports {', '.join(sorted(above))}"


def test_no_import_turns_back() -> None:
    """Modules, too, can be put in an order in which each knows only earlier ones."""
    rest = {m: {used for used in IMPORTS[m] & IMPORTS.keys() if used != "lamella"} for m in IMPORTS}
    while rest:
        first = {m for m, used in rest.items() if not used & rest.keys()}
        assert first, f"these import each other: {sorted(rest)}"
        rest = {m: used for m, used in rest.items() if m not in first}


def test_only_the_edge_knows_hydra() -> None:
    users = users_of("hydra", "omegaconf")
    assert {room(module) for module in users} <= {"cli", "config", "commands", "inference"}
    assert {module for module in users if room(module) == "inference"} == {"lamella.inference.checkpoint"}


def test_only_commands_take_a_whole_configuration() -> None:
    edge = ("cli", "config", "commands")
    users = {module for module in users_of("lamella.config.schema") if room(module) not in edge}
    assert users == {"lamella.inference.checkpoint"}  # of a kept one the nodes that it builds


def test_only_tracking_knows_mlflow() -> None:
    assert {room(module) for module in users_of("mlflow")} == {"tracking"}


def test_only_training_and_its_loaders_know_lightning() -> None:
    users = {module for module in users_of("pytorch_lightning") if room(module) != "training"}
    assert users == {"lamella.data.loaders.datamodule", "lamella.commands.train"}


@pytest.mark.parametrize("name", ["data", "models", "metrics", "losses"])
def test_parts_stand_on_the_ground(name: str) -> None:
    """They are joined by those who use them, and could be used without the rest."""
    for module, used in IMPORTS.items():
        if room(module) == name:
            others = {room(each) for each in used if each.startswith("lamella.")} - {name, "pages"}
            assert others <= GROUND, module


def test_every_folder_fits_a_screen() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 10
    for folder in {path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE, PACKAGE / "commands"}:
        assert len(list(folder.glob("*.py"))) <= 12, folder
