"""Mask values and declarations of them, as a person types and reads them."""

from collections.abc import Mapping, Sequence

from lamella.data.types import MaskValue


def colour(value: MaskValue) -> tuple[int, int, int]:
    """The colour that a value is: a grey level has three equal channels."""
    return value if isinstance(value, tuple) else (value, value, value)


def shown(value: MaskValue) -> str:
    """A mask value as a person reads it: 255, or #ff0000."""
    return str(value) if isinstance(value, int) else "#" + "".join(f"{channel:02x}" for channel in value)


def said(value: MaskValue) -> str:
    """A mask value as it is written on the command line: 255, or "#ff0000" with its quotes."""
    return str(value) if isinstance(value, int) else f'"{shown(value)}"'


def listed(values: Sequence[MaskValue]) -> str:
    """Some values as a person reads them: "2, 3 and 254"; of many the first and the last."""
    texts = [shown(value) for value in values]
    if len(texts) > 6:
        return f"{', '.join(texts[:4])}, ... {texts[-1]} ({len(texts)} values)"
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def declaration(classes: Mapping[str, MaskValue | Sequence[MaskValue] | None]) -> str:
    """`dataset.classes` as it is typed, quotes included; None for a class without values."""

    def spelt(value: MaskValue | Sequence[MaskValue] | None) -> str:
        if value is None:
            return "[]"
        return f"[{', '.join(map(said, value))}]" if isinstance(value, list) else said(value)  # type: ignore[arg-type]

    inside = ", ".join(f"{name}: {spelt(value)}" for name, value in classes.items())
    return f"'dataset.classes={{{inside}}}'"


def ignoring(values: Sequence[MaskValue]) -> str:
    """`dataset.ignore` as it is typed, quotes included where a shell or Hydra needs them."""
    text = said(values[0]) if len(values) == 1 else f"[{','.join(map(said, values))}]"
    return f"'dataset.ignore={text}'" if '"' in text else f"dataset.ignore={text}"
