"""Whether a camera's motion lies on the lines that its pose says, or on these no more than on any others."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from syncnerf.sync.correlation import MOST_LINE_SHIFT, condition, line_slices
from syncnerf.sync.epipolar_cameras import EpipolarCameras, unfit_pair
from syncnerf.sync.frame_products import told_by_both
from syncnerf.sync.result import SyncResult

MOST_PAIRS = 12
"""Pairs of a camera that are looked at, spread over all."""
LEAST_LINES = 16
"""Fewer lines cannot be told from each other."""
FAR = 1 / 8
"""Share of the lines by which one pencil is turned at least, so that other lines meet ..."""
TURNS = 24
"""... in as many ways."""


def pose_fit(cameras: EpipolarCameras, result: SyncResult, camera: int) -> float:
    """How far a camera's agreement with others on the lines that both share stands out from that on wrong lines.

    A camera that sees much of its own, or little of what others see, agrees little with them, but where it does, on the
    right lines. Where its pose is another camera's, what agrees is that things move at the same moments at all, and any
    lines serve as well.

    Args:
        cameras: of the scene.
        result: the offsets at which they are compared.
        camera: global index.

    Returns:
        In deviations of the agreement on wrong lines, the mean of at most 12 pairs; NaN where no pair tells.
    """
    others = [
        other
        for other in range(len(result.names))
        if other != camera
        and not result.offsets[[camera, other]].isnan().any()
        and not unfit_pair(cameras, *sorted((camera, other)))
    ]
    chosen = others[:: max(1, math.ceil(len(others) / MOST_PAIRS))]
    leads = [lead for other in chosen if not math.isnan(lead := _pair_lead(cameras, result, camera, other))]
    return sum(leads) / len(leads) if leads else math.nan


def _pair_lead(cameras: EpipolarCameras, result: SyncResult, camera: int, other: int) -> float:
    """The same for one pair; NaN where it has too few lines, or too little time in common."""
    lines, informative, step = cameras.signals(camera, other)
    if len(lines[0]) < LEAST_LINES:
        return math.nan
    begins = cameras.begins(camera, other)
    lead = begins[1] - begins[0]
    shift = round((float(result.offsets[camera] - result.offsets[other]) - lead) / step)
    begin, end = max(0, -shift), min(lines[0].shape[1], lines[1].shape[1] - shift)
    if begin >= end:
        return math.nan
    told = told_by_both(informative, shift)
    signals = [condition(signal, informative=known) for signal, known in zip(lines, informative, strict=True)]
    one, two = (signal * both for signal, both in zip(signals, told, strict=True))
    widest = 0 if cameras.aligned else MOST_LINE_SHIFT
    return line_lead(one[:, begin:end], two[:, begin + shift : end + shift], widest)


def line_lead(first: Float[Tensor, "L T"], second: Float[Tensor, "L T"], widest: int = 0) -> float:
    """How far the agreement of two cameras' lines stands out from that of lines that do not belong together.

    Args:
        first: signals of simultaneous samples, shape [L, T].
        second: likewise.
        widest: lines by which the pencils may be misaligned.

    Returns:
        In deviations of the agreement after one pencil was turned by at least an eighth of the lines; 0 where nothing
        agrees anywhere.
    """
    count = len(first)
    near = math.ceil(FAR * count)
    turns = torch.linspace(near, count - near, TURNS).long().unique().tolist()
    wrong = torch.stack([(first * second.roll(turn, 0)).sum() for turn in turns]).double()
    pairs = [line_slices(count, shift) for shift in range(-widest, widest + 1)]
    right = max(float((first[one] * second[two]).sum()) for one, two in pairs)
    spread = float(wrong.std())
    return (right - float(wrong.mean())) / spread if spread > 0 else 0.0
