"""The arguments that every network's function takes, each with its one meaning."""

from typing import Annotated

from lamella.config.key import Key

Channels = Annotated[int, Key("channels of the image", least=1)]
Classes = Annotated[int, Key("classes, background included", least=2)]
Encoder = Annotated[str, Key("an encoder of SMP's, or of timm's as tu-NAME")]
EncoderWeights = Annotated[str | None, Key("null: from scratch; imagenet; or a file")]
FileWeights = Annotated[str | None, Key("null: from scratch; or a file")]


def logits_of(num_classes: int) -> int:
    """Channels K of the logits: one for two classes, else one per class."""
    return 1 if num_classes == 2 else num_classes
