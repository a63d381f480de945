"""A user's own code: what may be named, what its arguments are held to, what is kept, and what is said of faults."""

import copy
import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import hydra
import pytest

from lamella.cli import main as cli
from lamella.config import plugins
from lamella.config.check import build, check, flat, is_foreign, kept, plain, targets
from lamella.config.paths import CONF
from lamella.config.schema import LossTarget, ModelKeys
from lamella.errors import ConfigError

MINE = """
    import functools
    import os
    from collections.abc import Sequence
    from typing import Annotated
    from lamella.config.key import Key
    from lamella.losses import dice as borrowed

    class Net:
        def __init__(self, in_channels: int, num_classes: int, width: int = 8, act=os.path.join, rate: float = 0.5,
                     name: str = "none", sizes: list[int] = [1, 2], extra: "Unknown" = None):
            self.given = vars().copy()

    def loss(*, power: Annotated[float, Key("how steep", above=0)] = 2.0, inner=None):
        return lambda logits, target, valid: (power, inner)

    def open_ended(in_channels, num_classes, **rest): ...
    def blind(width: int = 3): ...
    def optimizer(parameters, lr: float, momentum: float = 0.9):
        return (parameters, lr, momentum)
    def no_parameters(): ...
    def scheduler(optimizer, steps, final: float = 0):
        return (optimizer, steps, final)
    def without_steps(optimizer, T_max: int):
        return (optimizer, T_max)
    value = 3
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes modules below a folder where the user then stands; they are forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}

    def write(name: str, text: str = MINE) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    yield write
    for name in {*sys.modules} - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(scope="module")
def default() -> dict[str, Any]:
    """The default configuration, plain."""
    cli.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return plain(check(hydra.compose("train")))


def with_node(default: dict[str, Any], group: str, node: Any, *names: str) -> dict[str, Any]:
    """The default configuration with one group replaced, and plug-ins named."""
    return copy.deepcopy(default) | {group: node, "plugins": list(names)}


def network(**keys: Any) -> dict[str, Any]:
    shared = {"name": "mine", "init_from": None, "init_part": "whole", "in_channels": 3, "num_classes": 2}
    return {"_target_": "mine.Net", **shared} | keys


def refusal(call, *arguments, **named) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **named)
    assert "\n" not in caught.value.problem
    return str(caught.value)


# Who may be named


def test_nothing_is_imported_that_nobody_named(written, default):
    written("mine.py", "open('was-here', 'w').close()")
    for names in ([], ["json"]):
        message = refusal(check, with_node(default, "model", network(), *names))
        assert message.startswith("model._target_ names 'mine.Net', which is not Lamella's own")
        assert "plugins=[mine]" in message
    assert not Path("was-here").exists()
    assert "mine" not in sys.modules


@pytest.mark.parametrize("name", ["mine.py", "./mine.py", "mine"])
def test_a_module_is_named_by_its_file_or_its_name(written, default, name):
    written("mine.py")
    cfg = check(with_node(default, "model", network(), name))
    assert type(build(cfg.model)).__module__ == "mine"
    assert check(with_node(default, "model", network(), name)).model == cfg.model  # named again: the same module


def test_files_import_what_lies_beside_them(written, default):
    written("there/helper.py", "value = 5")
    written("there/mine.py", "from helper import value\ndef loss(): return value")
    cfg = check(with_node(default, "loss", {"_target_": "mine.loss"}, "there/mine.py"))
    assert build(cfg.loss) == 5


def test_a_package_is_named_with_all_in_it(written, default):
    written("pack/__init__.py", "")
    written("pack/deep/__init__.py", "")
    written("pack/deep/nets.py", MINE)
    cfg = check(with_node(default, "model", network(_target_="pack.deep.nets.Net"), "pack"))
    assert build(cfg.model).given["width"] == 8


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("mine.os.system", "must name a function of mine, but 'mine.os.system' is posix's"),
        ("mine.functools.partial", "must name a function of mine, but 'mine.functools.partial' is functools's"),
        ("mine.borrowed", "must name a function of mine, but 'mine.borrowed' is lamella.losses.overlap's"),
        ("mine.value", "must name a function of mine, got 'mine.value'"),
        ("mine.los", "there is no function mine.los\n  Did you mean loss?"),
        ("mine", "must name a function of lamella.losses, got 'mine'"),
        ("mine.", "must name a function of lamella.losses, got 'mine.'"),
        ("mine:loss", "must name a function of lamella.losses, got 'mine:loss'"),
        ("mine_too.loss", "which is not Lamella's own"),
    ],
)
def test_a_named_module_opens_no_other(written, default, target, says):
    written("mine.py")
    message = refusal(check, with_node(default, "loss", {"_target_": target}, "mine.py"))
    assert message.startswith("loss._target_")
    assert says in message


def test_groups_with_functions_of_our_own_alone_take_no_others_of_ours(default):
    for group in ("augment", "inference", "optimizer", "scheduler"):
        message = refusal(check, with_node(default, group, {"_target_": "lamella.losses.dice"}))
        assert message.startswith(f"{group}._target_ must name a function of lamella.")


def test_an_installed_package_may_say_so_itself(written, default, tmp_path):
    """An entry point, in a process of its own, as it is read once."""
    written("site/pack.py", "def loss(): return 7")
    info = "site/pack-1.0.dist-info/"
    written(info + "METADATA", "Metadata-Version: 2.1\nName: pack\nVersion: 1.0\n")
    written(info + "entry_points.txt", "[lamella.plugins]\npack = pack\n")
    code = (
        "from lamella.config.check import build, kept; from lamella.config.schema import LossTarget;"
        "print(build(kept({'_target_': 'pack.loss'}, LossTarget)))"
    )
    paths = [str(tmp_path / "site"), *sys.path]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"], capture_output=True, text=True
    )
    assert result.stdout == "7\n", result.stderr


# What its arguments are held to


def test_defaults_are_honoured_and_written_down(written, default):
    written("mine.py")
    cfg = check(with_node(default, "model", network(), "mine"))
    given = build(cfg.model).given
    assert (given["width"], given["rate"], given["sizes"]) == (8, 0.5, [1, 2])
    assert given["name"] == "mine"  # that every model has; a function that takes it is given it
    noted = flat(cfg)
    assert (noted["model.width"], noted["model.rate"], noted["model.sizes"]) == (8, 0.5, [1, 2])
    assert "model.act" not in noted  # no YAML can say it
    assert check(plain(cfg)) == cfg  # as it is kept


def test_values_take_the_type_that_the_function_says(written, default):
    written("mine.py")
    cfg = check(with_node(default, "model", network(rate=1, extra={"any": [1]}, act="text"), "mine"))
    given = build(cfg.model).given
    assert isinstance(given["rate"], float)
    assert given["extra"] == {"any": [1]}  # its annotation says nothing that could be checked
    assert given["act"] == "text"


@pytest.mark.parametrize(
    ("group", "node", "says"),
    [
        ("model", network(widht=3), "'model.widht'\n  Did you mean width? Allowed: act, extra, in_channels,"),
        ("model", network(width="wide"), "model.width must be a whole number; got 'wide'"),
        ("model", network(width=None), "model.width must be a whole number; got None"),
        ("model", network(sizes=3), "model.sizes must be a list of whole numbers; got 3"),
        ("model", network(_args_=[1]), "there is no key 'model._args_'"),
        ("model", network(_partial_=True), "there is no key 'model._partial_'"),
        ("model", network(_target_="mine.open_ended"), "mine.open_ended takes any argument (**rest): a misspelt key"),
        ("model", network(_target_="mine.blind"), "mine.blind does not take in_channels and num_classes"),
        ("model", {"_target_": "mine.Net", "name": "mine"}, "model.init_from has no value"),
        ("loss", {"_target_": "mine.loss", "power": 0}, "loss.power must be a number, above 0; got 0"),
        ("loss", {"_target_": "mine.loss", "powr": 1}, "Did you mean power? Allowed: inner, power."),
        ("optimizer", {"_target_": "mine.optimizer"}, "optimizer.lr has no value"),
        ("optimizer", {"_target_": "mine.optimizer", "lr": 1, "parameters": 2}, "no key 'optimizer.parameters'"),
        ("optimizer", {"_target_": "mine.no_parameters"}, "mine.no_parameters must take what it is to work on as its"),
        ("scheduler", {"_target_": "mine.scheduler", "steps": 2}, "there is no key 'scheduler.steps'"),
        ("loss", {"_target_": "mine.loss", "inner": {"_target_": "os.system", "command": "x"}}, "loss.inner._target_"),
        ("loss", {"_target_": "mine.loss", "inner": [{"a": {"_target_": "os.system"}}]}, "loss.inner.0.a._target_"),
    ],
)  # fmt: skip
def test_an_argument_that_does_not_fit_is_refused(written, default, group, node, says):
    written("mine.py")
    assert says in refusal(check, with_node(default, group, node, "mine.py"))


def test_what_lamella_gives_comes_in_front(written, default):
    written("mine.py")
    optimizer = check(with_node(default, "optimizer", {"_target_": "mine.optimizer", "lr": 1}, "mine.py")).optimizer
    assert build(optimizer, "parameters") == ("parameters", 1.0, 0.9)
    scheduler = check(with_node(default, "scheduler", {"_target_": "mine.scheduler"}, "mine.py")).scheduler
    assert build(scheduler, "optimizer", steps=50) == ("optimizer", 50, 0)
    scheduler = {"_target_": "mine.without_steps", "T_max": 9}  # one that counts for itself
    assert build(check(with_node(default, "scheduler", scheduler, "mine.py")).scheduler, "it", steps=50) == ("it", 9)


def test_torchs_own_optimizers_can_be_named(default):
    node = {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.9}
    cfg = check(with_node(default, "optimizer", node, "torch.optim"))
    assert cfg.optimizer.arguments["nesterov"] is False
    assert plugins.fingerprints(["torch.optim"])["torch.optim"].startswith("torch 2.")
    assert plugins.sources("torch.optim") == {}


def test_functions_within_functions_are_made_first(written, default):
    written("mine.py")
    inner = {"_target_": "mine.loss", "power": 3}
    cfg = check(with_node(default, "loss", {"_target_": "mine.loss", "inner": [inner]}, "mine.py"))
    power, made = build(cfg.loss)(0, 0, 0)
    assert power == 2
    assert made[0](0, 0, 0) == (3, None)
    assert {key for key, node in targets(cfg).items() if is_foreign(node)} == {"loss", "loss.inner.0"}


def test_a_loss_of_ones_own_can_be_a_part_of_a_sum(written, default):
    written("mine.py")
    node = {
        "_target_": "lamella.losses.weighted_sum",
        "terms": {"mine": 1},
        "parts": {"mine": {"_target_": "mine.loss"}},
    }
    cfg = check(with_node(default, "loss", node, "mine.py"))
    assert cfg.loss.arguments["parts"]["mine"].target == "mine.loss"
    assert "which is not Lamella's own" in refusal(check, with_node(default, "loss", node))


def test_callbacks_are_a_users_own(written, default):
    written("mine.py", "class Called:\n    def __init__(self, every: int = 2): self.every = every")
    config = with_node(
        default, "trainer", default["trainer"] | {"callbacks": {"a": {"_target_": "mine.Called"}}}, "mine"
    )
    (callback,) = check(config).trainer.callbacks.values()
    assert build(callback).every == 2
    assert "trainer.callbacks.a._target_ names" in refusal(check, config | {"plugins": []})
    config["trainer"]["callbacks"] = {"a": {"_target_": "lamella.training.adamw"}}
    assert "trainer.callbacks.a._target_ must name a function of a plug-in" in refusal(check, config)


def test_what_a_checkpoint_names_must_be_trusted(written):
    written("mine.py")
    node = network()
    assert "which is not Lamella's own" in refusal(kept, node, ModelKeys)
    made = build(kept(node | {"gone": 1}, ModelKeys, plugins.load(["mine.py"])))  # a key of an older version
    assert made.given["in_channels"] == 3
    inner = {"_target_": "mine.loss", "inner": {"_target_": "os.system", "command": "false"}}
    assert "inner._target_ names 'os.system'" in refusal(kept, inner, LossTarget, ["mine"])


# Those that cannot be had


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("gone.py", None, "plugins names 'gone.py', and there is no such file"),
        ("gone", None, "plugins names 'gone', and there is no such module\n  A file is named by its path"),
        ("gone.deeper", None, "plugins names 'gone.deeper', and there is no such module"),
        ("my-net.py", "", "no `_target_` can begin with 'my-net'\n  Rename the file, for example to my_net.py."),
        ("torch.py", "", "plugins names 'torch.py', but torch is"),
        ("lamella.py", "", "plugins names 'lamella.py', but lamella is"),
        ("statistics.py", "", "plugins names 'statistics.py', but statistics is"),
    ],
)
def test_a_plug_in_that_cannot_be_had_is_named(written, name, text, says):
    if text is not None:
        written(name, text)
    assert says in refusal(plugins.load, [name])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def f():\n    return 1 / 0\nf()", "ZeroDivisionError: division by zero"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("def f(:\n    pass", "SyntaxError: invalid syntax"),
    ],
)
@pytest.mark.parametrize("name", ["broken.py", "broken"])
def test_one_that_does_not_import_shows_its_own_traceback(written, name, text, says):
    path = written("broken.py", text)
    message = refusal(plugins.load, [name])
    problem, *shown = message.splitlines()
    assert problem.startswith(f"plugins names {name!r}, which cannot be imported: {says}")
    assert any(f'File "{path}", line' in line for line in shown)
    assert not any("lamella" in line or "importlib" in line for line in shown)
    assert "broken" not in sys.modules
    assert "trust names" in refusal(plugins.load, [name], "trust")


def test_what_lies_where_the_user_stands_is_not_imported_by_others(written):
    before = [*sys.path]
    written("mine.py")
    plugins.load(["math", "mine", "mine.py"])
    assert sys.path == before
    written("late/helper_of_late.py", "")
    written("late/late.py", "def imports():\n    import helper_of_late")
    plugins.load(["late/late.py"])
    with pytest.raises(ModuleNotFoundError):
        sys.modules["late"].imports()


@pytest.mark.parametrize("name", ["leaves.py", "leaves"])
def test_one_that_leaves_is_no_success(written, name):
    written("leaves.py", "import sys\nsys.exit(0)")
    assert f"plugins names {name!r}, which cannot be imported: SystemExit: 0" in refusal(plugins.load, [name])


def test_an_error_in_a_function_is_its_own(written, default):
    path = written("mine.py", "import sys\ndef loss(): raise ValueError('no')\ndef leaves(): sys.exit(0)")
    for name, says in (("loss", "mine.loss failed: ValueError: no"), ("leaves", "mine.leaves failed: SystemExit: 0")):
        node = check(with_node(default, "loss", {"_target_": f"mine.{name}"}, "mine.py")).loss
        message = refusal(build, node)
        assert message.startswith(says)
        assert f'File "{path}", line' in message


def test_a_function_that_does_not_say_its_arguments_is_refused(default):
    message = refusal(check, with_node(default, "loss", {"_target_": "builtins.max"}, "builtins"))
    assert "builtins.max does not say which arguments it takes" in message


@pytest.mark.parametrize("group", ["augment", "inference"])
def test_settings_are_lamellas_own(written, default, group):
    written("mine.py")
    message = refusal(check, with_node(default, group, {"_target_": "mine.loss"}, "mine.py"))
    assert message.startswith(f"{group}._target_ must name a function of lamella.")


def test_annotations_of_any_kind_are_met(written, default):
    written(
        "mine.py",
        """
        from typing import Annotated, List, Literal, Optional, Union
        def loss(a: Annotated[int, "doc"] = 1, b: Literal[1, 2] = 1, c: Literal["x", "y"] = "x", d: List = (),
                 e: Optional[int] = None, f: Union[int, str] = 1, g: "dict[str, int]" = None):
            return a, b, c, d, e, f, g
        """,
    )
    cfg = check(
        with_node(default, "loss", {"_target_": "mine.loss", "a": 2, "b": 2, "c": "y", "e": 3, "f": "t"}, "mine.py")
    )
    assert build(cfg.loss)[:6] == (2, 2, "y", (), 3, "t")
    for key, value in (("a", "x"), ("c", "z"), ("e", "x")):
        message = refusal(check, with_node(default, "loss", {"_target_": "mine.loss", key: value}, "mine.py"))
        assert message.startswith(f"loss.{key} must be ")


# What is kept of it


def test_the_source_and_its_hash_are_kept(written):
    path = written("mine.py")
    plugins.load(["mine.py"])
    content = path.read_bytes()
    assert plugins.sources("mine") == {"mine.py": content}
    by_hand = hashlib.sha256(f"mine.py\0{len(content)}\0".encode() + content).hexdigest()
    before = plugins.fingerprints(["mine"])
    assert before == {"mine": f"sha256:{by_hand}"}
    path.write_bytes(content + b"# another")
    assert plugins.fingerprints(["mine"]) != before


def test_of_a_package_all_files_are_kept(written):
    for name, text in (("pack/__init__.py", ""), ("pack/deep/nets.py", "a = 1"), ("pack/note.txt", "no")):
        written(name, text)
    plugins.load(["pack"])
    assert plugins.sources("pack") == {"pack/__init__.py": b"", "pack/deep/nets.py": b"a = 1"}


def test_a_folder_without_a_file_cannot_be_kept(written):
    written("bare/nets.py", "")
    plugins.load(["bare"])
    assert "Give its folder an __init__.py" in refusal(plugins.sources, "bare")
