"""A batch -> the batch augmented at random, on its own device, in plain torch.

All geometry is one sampling grid, so every pixel is interpolated once. Parameters are drawn on the CPU and
follow the generator alone; nothing on the device is read back, so the host never waits for it.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from lamella.config.key import Key, hold

WHITE = 255.0


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which random changes training images undergo, and how strong; a magnitude of 0 turns one off.

    Each field says what it is. Zoom, contrast and gamma draw a factor (gamma an exponent) that is log-uniform in
    [1 / (1 + value), 1 + value]; `elastic` holds for each axis, and above a quarter of `elastic_grid` the picture
    begins to fold over itself; `p` is drawn for each sample and each change alone.

    Raises:
        ConfigError: a value out of its bounds.
    """

    flip: Annotated[bool, Key("mirror each axis in half of the samples")]
    rotate90: Annotated[bool, Key("turn by a random number of quarters")]
    rotate: Annotated[float, Key("largest turn to either side, degrees; 180: any angle", least=0, most=180)]
    scale: Annotated[float, Key("largest relative zoom, in or out", least=0, most=4)]
    elastic: Annotated[float, Key("standard deviation of elastic displacement, pixels", least=0, most=1000)]
    elastic_grid: Annotated[int, Key("distance between elastic control points, pixels", least=1)]
    brightness: Annotated[float, Key("largest shift, as a share of 0..255", least=0, most=1)]
    contrast: Annotated[float, Key("largest relative stretch about the mean", least=0, most=100)]
    gamma: Annotated[float, Key("largest relative exponent", least=0, most=100)]
    channel: Annotated[float, Key("largest relative gain of each channel alone", least=0, most=100)]
    blur: Annotated[float, Key("largest Gaussian blur, pixels", least=0, most=100)]
    noise: Annotated[float, Key("largest standard deviation of white noise, grey levels", least=0, most=255)]
    p: Annotated[float, Key("probability of each change but flips and quarter turns", least=0, most=1)]

    def __post_init__(self) -> None:
        hold(self)

    @property
    def free(self) -> bool:
        """Whether the geometry is more than flips and quarter turns: pixels may land between pixels, or outside."""
        return bool(self.rotate or self.scale or self.elastic)


def window_size(crop: int, augmentation: Augmentation) -> int:
    """The side, in pixels, of the smallest window whose centre gives a crop that never looks outside.

    Sure for rotation and scale. Elastic displacements are allowed for up to 3 standard deviations: the few
    pixels beyond come out invalid. The parity is the crop's, so the crop lies exactly in the centre.

    Args:
        crop: side of the crop, in pixels.
        augmentation: what the crop undergoes.
    """
    centre_to_edge = (crop - 1) / 2  # between pixel centres
    angle = math.radians(min(augmentation.rotate, 45.0))  # a turned square is widest at 45 degrees
    widening = (1 + augmentation.scale) * (math.cos(angle) + math.sin(angle))
    reach = centre_to_edge * widening + 3 * augmentation.elastic
    return crop + 2 * math.ceil(reach - centre_to_edge - 1e-6)  # pixels of rounding


def augment(
    image: Tensor,
    mask: Tensor,
    valid: Tensor,
    *,
    crop: int,
    fill: Tensor,
    augmentation: Augmentation,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The batch with each sample changed in its own random way, cut to the centre.

    Where `valid` comes out False the image is exactly `fill` and the mask 0; what the window held in such
    places does not matter. Valid pixels are clamped to 0..255, as a camera would.

    The same seed gives the same result. Parameters do not depend on the device; the noise itself is drawn on
    the device, and differs between a CPU and a GPU.

    Args:
        image: (B, C, S, S) uint8 windows, S from `window_size`; of smaller ones, what is missing is invalid.
        mask: (B, S, S) uint8 class ids, on the image's device.
        valid: (B, S, S) bool, on the image's device; False outside the picture.
        crop: side s of the result, at most S.
        fill: (C,) value outside the picture, in grey levels 0..255, of any dtype.
        augmentation: which changes, and how strong.
        generator: on the CPU; None for torch's global one.

    Returns:
        image (B, C, s, s) float32 in 0..255, not normalised; mask (B, s, s) uint8; valid (B, s, s) bool.

    Raises:
        ValueError: shapes that do not fit together, or a crop larger than the window.
    """
    _check_shapes(image, mask, valid, crop, fill)
    fill = fill.to(image.device, torch.float32, non_blocking=True).view(1, -1, 1, 1)
    draw = _Draw(len(image), augmentation.p, generator)
    # Half precision has too few digits for coordinates and grey levels.
    with torch.autocast(image.device.type, enabled=False):
        if augmentation.free or augmentation.flip or augmentation.rotate90:
            grid = _sampling_grid(image.shape[-1], crop, augmentation, draw, image.device)
            image, mask, valid = _sample(image, mask, valid, fill, grid)
        else:  # the centre as it is, bit for bit
            start = (image.shape[-1] - crop) // 2
            image, mask, valid = (x[..., start : start + crop, start : start + crop] for x in (image, mask, valid))
            image, mask = image.to(torch.float32, copy=True), mask * valid
        image = _recolour(image, valid, augmentation, draw)
        image = _blur(image, augmentation.blur, draw) if augmentation.blur else image
        image = _add_noise(image, augmentation.noise, draw) if augmentation.noise else image
        image = torch.where(valid.unsqueeze(1), image.clamp_(0, WHITE), fill)
    return image, mask, valid


@dataclass
class _Draw:
    """Draws values for each sample, on the CPU, from one generator."""

    batch: int
    p: float
    generator: torch.Generator | None

    def below(self, end: int) -> Tensor:
        """(B,) integers in 0..end - 1."""
        return torch.randint(end, (self.batch,), generator=self.generator)

    def chosen(self) -> Tensor:
        """(B,) 1 in the samples that undergo a change, 0 in the others."""
        return (torch.rand(self.batch, generator=self.generator) < self.p).float()

    def within(self, limit: float, count: int = 1) -> Tensor:
        """(B, count) uniform in [-limit, limit); 0 in samples that were not chosen."""
        values = (2 * torch.rand(self.batch, count, generator=self.generator) - 1) * limit
        return values * self.chosen()[:, None]

    def factor(self, limit: float, count: int = 1) -> Tensor:
        """(B, count) log-uniform in [1 / (1 + limit), 1 + limit]; 1 in samples that were not chosen."""
        return self.within(math.log1p(limit), count).exp()


def _check_shapes(image: Tensor, mask: Tensor, valid: Tensor, crop: int, fill: Tensor) -> None:
    batch, channels, height, width = image.shape if image.ndim == 4 else (0, 0, 0, 0)
    if image.ndim != 4 or height != width or not mask.shape == valid.shape == (batch, height, width):
        got = f"image {tuple(image.shape)}, mask {tuple(mask.shape)}, valid {tuple(valid.shape)}"
        raise ValueError(f"want image (B, C, S, S), mask and valid (B, S, S); got {got}")
    if fill.shape != (channels,):
        raise ValueError(f"want one fill value for each of {channels} channels; got {tuple(fill.shape)}")
    if not 1 <= crop <= height:
        raise ValueError(f"cannot cut a crop of {crop} pixels out of windows of {height}")


def _sampling_grid(window: int, crop: int, augmentation: Augmentation, draw: _Draw, device: torch.device) -> Tensor:
    """Where each pixel of the result lies in the window: (B, s, s, 2), x before y, -1..1 from edge to edge.

    Measured from edge to edge (`align_corners=False`), a pixel's place counted from the window's centre is
    its distance in pixels times 2 / S: whole pixels stay whole through flips and quarter turns.
    """
    unit = 2 / window
    matrix = (_linear_maps(augmentation, draw) * unit).to(device, non_blocking=True)  # (B, 2, 2)
    odd = (window - crop) % 2 / 2  # half a pixel that a centred crop would lie off the lattice
    axis = torch.arange(crop, device=device) - (crop - 1) / 2  # (s,) pixels from the centre of the crop
    along_x = matrix[:, :, 0, None, None] * axis  # (B, 2, 1, s)
    along_y = matrix[:, :, 1, None, None] * axis[:, None]  # (B, 2, s, 1)
    # Broadcast, no matrix product: on a GPU that may run in TF32, too coarse for coordinates.
    grid = along_x + (along_y - odd * unit)  # (B, 2, s, s)
    if augmentation.elastic:
        grid += _displacements(crop, augmentation, draw, device) * unit
    return grid.permute(0, 2, 3, 1)


def _linear_maps(augmentation: Augmentation, draw: _Draw) -> Tensor:
    """From a place (x, y) in the result to one in the window, both from the centre, in pixels: (B, 2, 2)."""
    angle = draw.within(math.radians(augmentation.rotate)).squeeze(1)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    maps = turn * draw.factor(augmentation.scale)[:, :, None]
    if augmentation.rotate90:
        quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        quarters = torch.stack([torch.eye(2), quarter, -torch.eye(2), -quarter])
        maps = quarters[draw.below(4)] @ maps
    if augmentation.flip:
        signs = torch.stack([1 - 2 * draw.below(2), 1 - 2 * draw.below(2)], dim=1)
        maps = signs[:, :, None] * maps
    return maps


def _displacements(crop: int, augmentation: Augmentation, draw: _Draw, device: torch.device) -> Tensor:
    """Smooth random displacements in pixels: (B, 2, s, s), normal with deviation `elastic` at every pixel.

    Bicubic upsampling of control points, by cubic B-splines: two small products, for the kernel is separable.
    """
    spline = _spline_weights(crop, augmentation.elastic_grid, device)  # (s, n)
    points = spline.shape[1]
    deviation = augmentation.elastic * draw.chosen().view(-1, 1, 1, 1)
    normal = torch.randn(draw.batch, 2, points, points, generator=draw.generator)
    control = (normal * deviation).to(device, non_blocking=True)
    return spline @ control @ spline.T  # (B, 2, s, s)


def _spline_weights(crop: int, spacing: int, device: torch.device) -> Tensor:
    """Weights of control points for each pixel of one axis: (s, n). The points reach beyond both ends."""
    points = (crop - 1) // spacing + 4
    pixel = torch.arange(crop, device=device)[:, None] / spacing
    point = torch.arange(-1, points - 1, device=device)
    distance = (pixel - point).abs()
    weights = (2 - distance).clamp_min(0) ** 3 - 4 * (1 - distance).clamp_min(0) ** 3
    # Length 1, so that independent points of deviation 1 give deviation 1 between the points, too.
    return F.normalize(weights, dim=1)


def _sample(image: Tensor, mask: Tensor, valid: Tensor, fill: Tensor, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Reads the window at the grid's places: the image between pixels, mask and validity at the nearest.

    No dark rim: counted from `fill`, what lies beyond the picture is 0. What lies beyond the window goes on
    like its edge. So the rim of the picture is mixed with `fill` or with itself, and never with black.
    """
    # In place, for on a CPU fresh memory for whole windows costs ten times the arithmetic.
    shade = image.to(torch.float32, copy=True).sub_(fill).mul_(valid.unsqueeze(1))
    shade = F.grid_sample(shade, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # Mask and validity as one channel: 0 for invalid, else the class id plus 1. Beyond the window is 0, too.
    code = ((mask.short() + 1) * valid).float().unsqueeze(1)
    code = F.grid_sample(code, grid, mode="nearest", padding_mode="zeros", align_corners=False).squeeze(1)
    return shade.add_(fill), (code - 1).clamp_min(0).to(torch.uint8), code > 0


def _recolour(image: Tensor, valid: Tensor, augmentation: Augmentation, draw: _Draw) -> Tensor:
    """Gain, contrast and brightness in one multiplication and one addition, then gamma. In place."""
    device = image.device
    if augmentation.channel or augmentation.contrast or augmentation.brightness:
        gain = draw.factor(augmentation.channel, image.shape[1])  # (B, C)
        contrast = draw.factor(augmentation.contrast)  # (B, 1)
        shift = draw.within(augmentation.brightness * WHITE)  # (B, 1)
        gain, contrast, shift = (x[:, :, None, None].to(device, non_blocking=True) for x in (gain, contrast, shift))
        if augmentation.contrast:
            weight = valid.unsqueeze(1).float()
            count = weight.sum((2, 3), keepdim=True).clamp_min(1)  # of valid pixels
            mean = (image * weight).sum((2, 3), keepdim=True) / count  # (B, C, 1, 1); 0 where none is valid
            shift = shift + gain * (1 - contrast) * mean
        image = image.mul_(gain * contrast).add_(shift)
    if augmentation.gamma:
        exponent = draw.factor(augmentation.gamma)[:, :, None, None].to(device, non_blocking=True)
        image = image.div_(WHITE).clamp_(0, 1).pow_(exponent).mul_(WHITE)
    return image


def _blur(image: Tensor, largest: float, draw: _Draw) -> Tensor:
    """A Gaussian along each axis in turn, its deviation uniform in 0..largest pixels."""
    batch, channels, height, width = image.shape
    radius = math.ceil(3 * largest)
    sigma = draw.within(largest).abs().clamp_min(1e-3)  # (B, 1); the least leaves a picture as it is
    # On the device: the CPU's threads, which share such an exponential of large batches, wait for each other then.
    steps = torch.arange(-radius, radius + 1, device=image.device)
    kernel = (steps / sigma.to(image.device, non_blocking=True)).square().mul(-0.5).exp()  # (B, k)
    kernel = F.normalize(kernel, p=1, dim=1).repeat_interleave(channels, dim=0)[:, None, None, :]  # (B * C, 1, 1, k)
    planes = F.pad(image, (radius, radius, radius, radius), mode="replicate").flatten(0, 1)[None]
    planes = F.conv2d(planes, kernel, groups=batch * channels)
    planes = F.conv2d(planes, kernel.transpose(2, 3), groups=batch * channels)
    return planes.view(batch, channels, height, width)


def _add_noise(image: Tensor, largest: float, draw: _Draw) -> Tensor:
    """White noise, its deviation uniform in 0..largest grey levels."""
    sigma = draw.within(largest).abs()[:, :, None, None].to(image.device, non_blocking=True)
    seed = int(torch.randint(2**62, (), generator=draw.generator))
    generator = torch.Generator(image.device).manual_seed(seed)
    noise = torch.randn(image.shape, device=image.device, generator=generator)
    return noise.mul_(sigma).add_(image)
