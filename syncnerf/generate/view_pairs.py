"""What a training step of the generator sees: pairs of views of one clip."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from syncnerf.generate.dataset import Clip, load_tensor
from syncnerf.generate.poses import embed_poses


@dataclass(frozen=True)
class Example:
    """What a step sees of a clip: latents [V, channels, F, h, w], poses [V, F, 12], embedding [L, E]."""

    latents: Float[Tensor, "V channels F h w"]
    poses: Float[Tensor, "V F 12"]
    text: Float[Tensor, "L E"]


def angles(camera_to_world: Float64[Tensor, "C 4 4"]) -> Float64[Tensor, "C C"]:
    """Angles between the viewing directions of all cameras, degrees, float64, shape [C, C]."""
    axes = camera_to_world[:, :3, 2]
    return torch.rad2deg((axes @ axes.T).clamp(-1, 1).arccos())


class ViewPairs:
    """Draws what a step sees: two views of a clip at an angle of a range, or a single view twice.

    A single view stands for general video, of which there are no pairs: both views are it, from the same place.

    Args:
        clips: of :func:`prepare`.
        single_share: probability of a single view.
    """

    def __init__(self, clips: list[Clip], single_share: float):
        self.clips, self.single_share = clips, single_share
        self._pairs: list[tuple[int, int, int]] = []
        turns = []
        for number, clip in enumerate(clips):
            between = angles(clip.camera_to_world)
            for first, second in combinations(range(len(clip.latents)), 2):
                self._pairs.append((number, first, second))
                turns.append(float(between[first, second]))
        self._angles = np.array(turns)

    def draw(self, generator: torch.Generator, lowest: float, highest: float) -> Example:
        """One example.

        Args:
            generator: decides it, with the range.
            lowest: least angle between the viewing directions, degrees.
            highest: largest one; where no pair of the data set falls between, the nearest to the middle are taken.
        """
        single = float(torch.rand((), generator=generator)) < self.single_share
        allowed = ((self._angles >= lowest) & (self._angles <= highest)).nonzero()[0]
        if len(allowed) == 0:
            away = np.abs(self._angles - (lowest + highest) / 2)
            allowed = (away <= away.min() + 1e-6).nonzero()[0]
        chosen = int(allowed[int(torch.randint(len(allowed), (), generator=generator))])
        number, *views = self._pairs[chosen]
        if torch.rand((), generator=generator) < 0.5:
            views.reverse()
        if single:
            views = [views[0], views[0]]
        clip = self.clips[number]
        latents = torch.stack([load_tensor(clip.latents[view]).float() for view in views])
        poses = embed_poses(clip.camera_to_world[views], latents.shape[2])
        return Example(latents, poses, load_tensor(clip.text).float())
