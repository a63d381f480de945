"""An image in numbers: its levels, its colours and its texture."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]

OCTAVES = 6  # of detail: the finest is about 2 pixels wide, each next one twice as wide
LEAST = 0.05  # grey levels: what varies less does not vary
_WIDE, _NARROW = np.array([1, 4, 6, 4, 1]) / 16, np.array([1, 2, 1]) / 4


def of_levels(grey: Floats) -> dict[str, float]:
    """The numbers that tell how light an image is, and of which colours.

    Args:
        grey: (C, ...) evenly spread pixels, on the scale of 0 to 255 over the training images.

    Returns:
        `mean` of all channels, `contrast` (log2 of the standard deviation), `dark` and `light` (the 2nd and the 98th
        percentile), `skew` (above 0: what is light is rare); of more channels also `channel_1`, ...: how much lighter
        it is than the mean of all; and `stain_1`, ...: how much it varies with that mean.
    """
    flat = grey.reshape(len(grey), -1)
    mean = flat.mean(axis=0)
    centred = mean - mean.mean()
    std = max(float(mean.std()), LEAST)
    dark, light = np.percentile(mean, [2, 98])
    found = {
        "mean": float(mean.mean()),
        "contrast": float(np.log2(std)),
        "dark": float(dark),
        "light": float(light),
        "skew": float(np.mean(centred**3)) / std**3,
    }
    if len(flat) > 1:
        for number, channel in enumerate(flat, start=1):
            found[f"channel_{number}"] = float(channel.mean() - mean.mean())
            found[f"stain_{number}"] = float(np.mean(channel * centred)) / std**2
    return found


def of_texture(windows: Floats) -> dict[str, float]:
    """The numbers that tell how coarse an image is.

    Args:
        windows: (N, h, w), in grey levels.

    Returns:
        `octave_0`, ...: how much of the standard deviation each octave of detail has, as log2; and `grain`: likewise,
        what single pixels have.
    """
    power = np.zeros(OCTAVES)
    here = windows
    for octave in range(OCTAVES):
        smooth = _smooth(here, _WIDE)
        power[octave] = np.mean((here - smooth) ** 2)
        here = smooth[:, ::2, ::2]
    total = max(float(np.mean(windows.var(axis=(1, 2)))), LEAST**2)
    shares = np.log2(np.maximum(power, LEAST**2) / total) / 2
    grain = float(np.mean((windows - _smooth(windows, _NARROW)) ** 2))
    found = {f"octave_{octave}": float(share) for octave, share in enumerate(shares)}
    return found | {"grain": float(np.log2(max(grain, LEAST**2) / total)) / 2}


def _smooth(images: Floats, kernel: Floats) -> Floats:
    for axis in (1, 2):
        images = ndimage.correlate1d(images, kernel, axis=axis, mode="reflect")
    return images
