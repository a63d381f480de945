"""An image in numbers: its levels, its colours and its texture."""

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]

OCTAVES = 6  # of detail: the finest is about 2 pixels wide, each next one twice as wide
LEAST = 0.05  # grey levels: what varies less does not vary
_SMOOTH, _SECOND = np.array([1, 4, 6, 4, 1]) / 16, np.array([1.0, -2, 1])


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
        `octave_0`, ...: how much of the standard deviation each octave of detail has, as log2; and `noise`: log2 of
        the standard deviation of the noise, in grey levels, as far as it is of single pixels (after Immerkaer 1996,
        Fast noise variance estimation).
    """
    power = np.zeros(OCTAVES)
    here = windows
    for octave in range(OCTAVES):
        smooth = _filtered(here, _SMOOTH)
        power[octave] = np.mean((here - smooth) ** 2)
        here = smooth[:, ::2, ::2]
    total = max(float(np.mean(windows.var(axis=(1, 2)))), LEAST**2)
    shares = np.log2(np.maximum(power, LEAST**2) / total) / 2
    found = {f"octave_{octave}": float(share) for octave, share in enumerate(shares)}
    rough = float(np.abs(_filtered(windows, _SECOND)).mean()) / (
        6 * math.sqrt(2 / math.pi)
    )  # 1 of noise of deviation 1
    return found | {"noise": math.log2(max(rough, LEAST))}


def _filtered(images: Floats, kernel: Floats) -> Floats:
    for axis in (1, 2):
        images = ndimage.correlate1d(images, kernel, axis=axis, mode="reflect")
    return images
