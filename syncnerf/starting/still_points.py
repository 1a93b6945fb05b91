"""Points of the still scene where its background is unknown: all that stereo of median pictures sees."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate

from syncnerf.scene.scene import Scene
from syncnerf.scene.still_views import StillView, still_views
from syncnerf.scene.visual_hull import grown
from syncnerf.starting.sights import frames_looked_at
from syncnerf.starting.surfaces import ColouredPoints

MOST_POINTS = 20_000
"""Points at most, drawn evenly from the cameras' pictures."""
RESTLESS, OFTEN = 0.06, 0.3
"""Difference from the median picture's colours, in [0, 1], and share of the frames that differ so from which on what
a pixel shows does not stand still: something that sways, where the median shows it too."""
BESIDE = 1
"""Pixels around such ones that count with them."""


def still_points(scene: Scene, moment: float) -> ColouredPoints:
    """Where stereo sees the still scene (:mod:`syncnerf.scene.stereo`): more points where cameras see more of it.

    Args:
        scene: the scene, one that can be compared, its frames decoded.
        moment: scene time, seconds, that points get which do not stand quite still.
    """
    parts = [_seen_by(scene, index, view, moment) for index, view in still_views(scene).items()]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.and_also(part)
    return whole.chosen(torch.randperm(len(whole.places))[:MOST_POINTS])


def _seen_by(scene: Scene, index: int, view: StillView, moment: float) -> ColouredPoints:
    """What a camera sees, one point for each pixel of the comparison whose distance is known."""
    height, width = view.distances.shape
    rays = scene.cameras[index].resized(width, height).all_rays(0.0, 1.0)
    known = view.distances.reshape(-1).isfinite()
    distances = view.distances.reshape(-1)[known]
    places = rays.origins[known].float() + distances[:, None] * rays.directions[known].float()
    colours = _small(view.colours[None].float() / 255.0, height, width)[0].reshape(-1, 3)[known]
    moves = _restless(scene.frames(index), view, height, width).reshape(-1)[known]
    return ColouredPoints(places, torch.where(moves, moment, torch.nan).double(), colours)


def _restless(frames: np.ndarray, view: StillView, height: int, width: int) -> Bool[Tensor, "h w"]:
    """Pixels that often differ from the median picture, at the size of the comparison."""
    pictures = torch.from_numpy(frames[frames_looked_at(len(frames))]).float() / 255.0
    apart = (_small(pictures, height, width) - _small(view.colours[None].float() / 255.0, height, width)).abs()
    often = (apart.amax(dim=-1) > RESTLESS).float().mean(dim=0) > OFTEN
    return grown(often, BESIDE)


def _small(pictures: Float[Tensor, "T H W 3"], height: int, width: int) -> Float[Tensor, "T h w 3"]:
    return interpolate(pictures.permute(0, 3, 1, 2), (height, width), mode="area").permute(0, 2, 3, 1)
