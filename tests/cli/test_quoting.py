"""Whatever text is typed for a key that takes text arrives as that text, and all else is read as Hydra reads it."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lamella.cli.command_line import read
from lamella.cli.quoting import quoted
from lamella.config.paths import CHECKOUT
from lamella.config.schema import SCHEMAS
from lamella.errors import ConfigError

PATHS = {
    "train": ("dataset.images", "dataset.masks", "dataset.pairs", "paths.output", "dataset.split.path"),
    "evaluate": ("run", "dataset.images", "paths.cache"),
    "compare": ("experiment", "output", "tracking.uri"),
    "prepare_data": ("archive", "dataset.images", "html"),
    "tiff_to_png": ("input", "output"),
}
KEYS = [(command, key) for command, keys in PATHS.items() for key in keys]


def arrives(argument, command="train", sweep=False):
    """What Hydra and OmegaConf make of an argument: one value, or in a sweep those of the jobs."""
    override = OverridesParser.create().parse_override(quoted(argument, SCHEMAS[command], sweep=sweep))
    given = [*override.sweep_iterator()] if override.is_sweep_override() else [override.value()]
    if sweep:  # the jobs' own overrides are read once more
        words = override.sweep_string_iterator() if override.is_sweep_override() else [
            override.get_value_element_as_str()]  # fmt: skip
        given = [OverridesParser.create().parse_override(f"k={word}").value() for word in words]
    values = [OmegaConf.to_container(OmegaConf.create({"k": value, "seed": 3}), resolve=True)["k"] for value in given]
    return values if sweep else values[0]


# Any text at all; and such as is full of what Hydra's grammar reads as something else.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")),
    st.text("äß~[](){}'\"=$%#:,\\ ./\t!&*?<>|@0_1e+-ntrue"),
).filter(lambda text: not (len(text) > 1 and text[0] == text[-1] and text[0] in "'\"") and text.casefold() != "null")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KEYS), TEXTS.filter(lambda text: "${" not in text))
def test_any_text_arrives_as_it_was_typed(where, text):
    command, key = where
    assert arrives(f"{key}={text}", command) == text


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS.map(str.strip).filter(lambda text: text and not {*text} & {*",'\"$\\"}), min_size=2, max_size=3))
def test_any_texts_arrive_in_a_sweep(texts):
    assert arrives(f"dataset.images={','.join(texts)}", sweep=True) == texts


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("dataset.name=007", "007"),
        ("dataset.name=1e3", "1e3"),
        ("dataset.name=null", "null"),
        ("dataset.name=true", "true"),
        ("dataset.mask_suffix=_1", "_1"),
        ("dataset.images=null", None),
        ("dataset.images=C:\\data\\new", "C:\\data\\new"),
        ("dataset.images=half${x", "half${x"),
        ("tracking.run_name=seed ${seed} (a)", "seed 3 (a)"),
        ("dataset.group='^([^_]+)_'", "^([^_]+)_"),
        ("dataset.ignore=#ff0000", "#ff0000"),
        ("plugins=[my~own.py, b c.py]", ["my~own.py", "b c.py"]),
        ("dataset.offset=[1,2.5]", [1, 2.5]),
        ("dataset.classes={a: 0, b: [1,2]}", {"a": 0, "b": [1, 2]}),
        ("model.misspelt=a~b", "a~b"),
    ],
)
def test_what_a_key_is_given(argument, value):
    assert arrives(argument) == value


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("dataset.images=~/a b,'c,d',e\\,f", ["~/a b", "c,d", "e,f"]),
        ("dataset.name=1,007", ["1", "007"]),
        ("dataset.images=choice(a,b)", ["a", "b"]),
        ("seed=1,2", [1, 2]),
        ("seed=range(1,4)", [1, 2, 3]),
        ("model=unet,otsu", ["unet", "otsu"]),
    ],
)
def test_what_the_jobs_of_a_sweep_are_given(argument, values):
    assert arrives(argument, sweep=True) == values


def test_a_path_with_commas_is_not_parted_in_silence(tmp_path):
    (tmp_path / "a,b").mkdir()
    with pytest.raises(ConfigError, match="commas part values") as caught:
        quoted(f"dataset.images={tmp_path}/a,b", SCHEMAS["train"], sweep=True)
    assert f"\"dataset.images='{tmp_path}/a,b'\"" in caught.value.remedy


def test_flags_and_their_values_are_left_alone():
    typed = read(["--config-dir", "a=b~c", "dataset.images=a~b", "-m"], SCHEMAS["train"])
    assert typed.arguments == ["--config-dir", "a=b~c", "dataset.images='a~b'", "-m"]
    assert typed.sweep


def test_what_is_meant_for_some_jobs_is_kept_apart():
    typed = read(["-m", "model=unet,otsu", "model.channel@otsu=grey,0", "optimizer.lr=1"], SCHEMAS["train"])
    assert typed.arguments == ["-m", "model=unet,otsu", "optimizer.lr=1"]
    assert [(only.choice, only.override) for only in typed.only] == [("otsu", "model.channel='grey','0'")]


NASTY = "/ä ö/a, b (2) [c] {d}/e=f'g\"h/#i$j%k:l&m;n\\\\o\\p?*~q/007"


@pytest.mark.parametrize(
    ("script", "key", "others"),
    [
        ("train.py", "dataset.images", ["dataset=folder"]),
        ("scripts/evaluate.py", "dataset.masks", ["dataset=folder", "run=x"]),
        ("scripts/compare.py", "paths.output", []),
        ("scripts/prepare_data.py", "dataset.pairs", ["dataset=folder"]),
        ("scripts/tiff_to_png.py", "input", ["output=x"]),
    ],
)
def test_a_path_arrives_in_the_configuration_of_every_command(main, script, key, others):
    code, shown, said = main(*others, f"{key}={NASTY}", "--cfg", "job", script=CHECKOUT / script)
    assert (code, said) == (0, "")
    assert OmegaConf.select(OmegaConf.create(shown), key) == NASTY


def test_a_path_reaches_the_command_itself(main, tmp_path):
    code, _, said = main(f"input={tmp_path}{NASTY}", "output=x", script=CHECKOUT / "scripts/tiff_to_png.py")
    assert code == 1
    assert said.startswith(f"error: input={tmp_path}{NASTY} names no TIFF file\n")
