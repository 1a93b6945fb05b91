"""Protocols: which pixels of a test video its offset may be fitted on, and which are scored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

Region = Literal["nothing", "everything", "left", "right"]


@dataclass(frozen=True)
class Protocol:
    """A named way of scoring a camera that was not trained; every metric says which one produced it.

    Attributes:
        name: the name in ``metrics.json``.
        summary: what it means, for people.
        fit_region: part of each image that the test-time fit of the offset may see.
        score_region: part of each image that is scored.
    """

    name: str
    summary: str
    fit_region: Region
    score_region: Region

    @property
    def fits(self) -> bool:
        """Whether the camera's offset is fitted; it is exactly 0 otherwise."""
        return self.fit_region != "nothing"

    def fit_mask(self, height: int, width: int) -> Bool[Tensor, "{height} {width}"]:
        """Pixels that the fit may see, bool, shape [height, width]."""
        mask = torch.zeros(height, width, dtype=torch.bool)
        mask[:, _columns(self.fit_region, width)] = True
        return mask

    def scored(self, image: Shaped[Tensor, "H W ..."]) -> Shaped[Tensor, "H V ..."]:
        """The scored part of an image [H, W, ...], cropped, so that no SSIM window reaches into unscored pixels."""
        return image[:, _columns(self.score_region, image.shape[1])]

    def without_fit(self) -> Protocol:
        """The protocol ``none`` on the pixels that this one scores: the score before the fit, comparable to after."""
        return replace(NONE, score_region=self.score_region)


NONE = Protocol("none", "no test-time fit: the test camera's offset is 0", "nothing", "everything")
FULL = Protocol("full", "the offset is fitted and scored on the whole test video", "everything", "everything")
HOLDOUT = Protocol(
    "holdout", "the offset is fitted on the left half of each image, the right half is scored", "left", "right"
)

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (NONE, FULL, HOLDOUT)}


def _columns(region: Region, width: int) -> slice:
    half = width // 2
    return {
        "nothing": slice(0, 0),
        "everything": slice(0, width),
        "left": slice(0, half),
        "right": slice(half, width),
    }[region]
