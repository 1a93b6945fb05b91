"""Points of the still scene: features of the cameras' median pictures, matched along epipolar lines, triangulated.

They tell where the scene is, and whether the cameras' calibrations agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt8
from kornia.geometry.epipolar import fundamental_from_projections
from torch import Tensor
from tqdm import tqdm

from syncnerf.scene.features import match, picture_features
from syncnerf.scene.scene import Scene

MEDIAN_FRAMES = 9
"""A camera's picture of the still scene is the median of so many evenly spaced frames: what moves vanishes."""
AGREEMENT = 4.0
"""Median reprojection error in pixels above which a track of features is taken for a wrong match."""
LEAST_ANGLE = 2.0
"""Least angle in degrees between some two of a point's rays; with less, its depth is not known."""
FEWEST = 40
"""With fewer points, no box is derived from them."""
OUTLIERS, MARGIN = 0.02, 0.1
"""The box may leave out this share of the points at either end of each axis; it is then larger by this per side."""


@dataclass(frozen=True)
class ScenePoints:
    """Triangulated points and where they were seen.

    Attributes:
        places: in the world, float64, shape [P, 3].
        point: index of the point that each observation shows, int64, shape [O].
        camera: global index of the camera that made each observation, int64, shape [O].
        pixel: column and row of each observation, float64, shape [O, 2].
        errors: distance in pixels between each observation and the projected point that the *other* cameras of its
            track triangulate, float64, shape [O]; NaN in tracks of fewer than three cameras.
    """

    places: Float64[Tensor, "P 3"]
    point: Int64[Tensor, " O"]
    camera: Int64[Tensor, " O"]
    pixel: Float64[Tensor, "O 2"]
    errors: Float64[Tensor, " O"]

    def camera_error(self, camera: int) -> tuple[float, int]:
        """Median error of a camera's observations in pixels (NaN if there are none), and their number."""
        own = self.errors[(self.camera == camera) & self.errors.isfinite()]
        return (float(own.median()) if len(own) else float("nan")), len(own)


def scene_points(scene: Scene) -> ScenePoints:
    """Find points of a scene's still part, with its training cameras that do not move.

    Every pair of cameras is matched; matches are joined to tracks, and each track is triangulated by linear least
    squares (Hartley and Zisserman, section 12.2). Tracks that contain two places of one picture, or whose point does
    not explain them, are dropped. With fewer than two such cameras there are no points.
    """
    cameras = [index for index in scene.train if not scene.cameras[index].is_moving]
    if len(cameras) < 2:
        return _no_points()
    pixels, descriptors = {}, {}
    for index in tqdm(cameras, desc="features", unit="camera", leave=False):
        pixels[index], descriptors[index] = picture_features(median_picture(scene.frames(index)).mean(dim=-1))
    projections = {index: scene.cameras[index].projection() for index in cameras}
    first = dict(zip(cameras, np.cumsum([0, *(len(pixels[index]) for index in cameras)]), strict=False))
    links = []
    for place, left in enumerate(tqdm(cameras, desc="matching", unit="camera", leave=False)):
        for right in cameras[place + 1 :]:
            fundamental = fundamental_from_projections(projections[left][None], projections[right][None])[0]
            pairs = match(pixels[left], descriptors[left], pixels[right], descriptors[right], fundamental)
            links.append(pairs + torch.tensor([first[left], first[right]]))
    owner = torch.cat([torch.full((len(pixels[index]),), index) for index in cameras])
    where = torch.cat([pixels[index] for index in cameras])
    return triangulated(torch.cat(links), owner, where, projections)


def median_picture(
    frames: UInt8[np.ndarray, "T H W 3"], most: int = MEDIAN_FRAMES, among: Int64[np.ndarray, " N"] | None = None
) -> Float32[Tensor, "H W 3"]:
    """The median of evenly spaced frames uint8 [T, H, W, 3], colours in [0, 1], float32, shape [H, W, 3].

    Args:
        frames: of a camera that does not move.
        most: number of frames that the median is taken of.
        among: indices of the frames to choose from; None for all.
    """
    among = np.arange(len(frames)) if among is None else among
    chosen = among[np.linspace(0, len(among) - 1, min(most, len(among))).round().astype(int)]
    return torch.from_numpy(np.median(frames[chosen], axis=0)).float() / 255.0


def triangulated(
    links: Int64[Tensor, "L 2"],
    owner: Int64[Tensor, " F"],
    where: Float64[Tensor, "F 2"],
    projections: dict[int, Float64[Tensor, "3 4"]],
) -> ScenePoints:
    """Points from matched features.

    Args:
        links: pairs of features, int64, shape [L, 2].
        owner: each feature's camera, int64, shape [F].
        where: its place in pixels, float64, shape [F, 2].
        projections: of the cameras, float64, shape [3, 4].
    """
    labels = linked(links, len(owner))
    order = labels.argsort(stable=True)
    places, points, seen_by, pixels, errors = [], [], [], [], []
    for track in order.split(labels.unique(return_counts=True)[1].tolist()):
        cameras = owner[track]
        if len(track) < 2 or len(cameras.unique()) < len(track):
            continue
        matrices, pixel = torch.stack([projections[index] for index in cameras.tolist()]), where[track]
        place = triangulate(matrices, pixel)
        if not _believable(place, matrices, pixel):
            continue
        points += [len(places)] * len(track)
        places.append(place)
        seen_by.append(cameras)
        pixels.append(pixel)
        errors.append(_left_out_errors(matrices, pixel))
    if not places:
        return _no_points()
    return ScenePoints(
        torch.stack(places), torch.tensor(points), torch.cat(seen_by), torch.cat(pixels), torch.cat(errors)
    )


def _no_points() -> ScenePoints:
    nothing = torch.empty(0, dtype=torch.int64)
    return ScenePoints(torch.empty(0, 3).double(), nothing, nothing, torch.empty(0, 2).double(), nothing.double())


def linked(links: Int64[Tensor, "L 2"], count: int) -> Int64[Tensor, " F"]:
    """Each feature's group: the smallest number among all features that chains of links [L, 2] connect with it."""
    labels = torch.arange(count)
    while True:
        least = labels[links].amin(dim=1).repeat_interleave(2)
        lower = labels.scatter_reduce(0, links.reshape(-1), least, "amin")
        if torch.equal(lower, labels):
            return labels
        labels = lower


def triangulate(matrices: Float64[Tensor, "K 3 4"], pixels: Float64[Tensor, "K 2"]) -> Float64[Tensor, " 3"]:
    """The point that cameras [K, 3, 4] see at pixels [K, 2], by linear least squares, float64, shape [3]."""
    rows = pixels[:, :, None] * matrices[:, 2:] - matrices[:, :2]
    rows = (rows / rows[..., :3].norm(dim=-1, keepdim=True).clamp_min(1e-12)).reshape(-1, 4)
    return torch.linalg.lstsq(rows[:, :3], -rows[:, 3:]).solution[:, 0]


def _project(matrices: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [K, 2] and depths [K] of a point in cameras [K, 3, 4]."""
    seen = matrices @ torch.cat([place, place.new_ones(1)])
    return seen[:, :2] / seen[:, 2:], seen[:, 2]


def _believable(place: Tensor, matrices: Tensor, pixels: Tensor) -> bool:
    """Whether a point lies before its cameras, is seen from clearly different sides, and explains its pixels."""
    seen, depth = _project(matrices, place)
    if not bool((depth > 0).all()) or float((seen - pixels).norm(dim=-1).median()) > AGREEMENT:
        return False
    centres = -torch.linalg.solve(matrices[:, :, :3], matrices[:, :, 3:])[:, :, 0]
    rays = torch.nn.functional.normalize(place - centres, dim=-1)
    return float((rays @ rays.T).min()) < math.cos(math.radians(LEAST_ANGLE))


def _left_out_errors(matrices: Tensor, pixels: Tensor) -> Tensor:
    """Distance in pixels of each observation from the others' point, float64, shape [K]; NaN if there are only two."""
    if len(pixels) < 3:
        return torch.full((len(pixels),), torch.nan, dtype=torch.float64)
    found = []
    for left_out in range(len(pixels)):
        others = torch.arange(len(pixels)) != left_out
        seen, _ = _project(matrices[left_out : left_out + 1], triangulate(matrices[others], pixels[others]))
        found.append((seen[0] - pixels[left_out]).norm())
    return torch.stack(found)


def point_placement(scene: Scene, points: ScenePoints) -> tuple[Float32[Tensor, "2 3"], float] | None:
    """A box, float32 [2, 3], and a near distance that suit the points; None where there are too few.

    The box holds nearly all of the points, but is nowhere larger than the scene's own; near is half the distance of the
    points that are nearest to their cameras.
    """
    if len(points.places) < FEWEST:
        return None
    ends = torch.tensor([OUTLIERS, 1.0 - OUTLIERS], dtype=torch.float64)
    low, high = points.places.quantile(ends, dim=0)
    slack = MARGIN * (high - low)
    own = scene.bounds.double()
    bounds = torch.stack([torch.maximum(low - slack, own[0]), torch.minimum(high + slack, own[1])]).float()
    centres = torch.stack([camera.pose(0)[:3, 3] for camera in scene.cameras])
    distances = (points.places[points.point] - centres[points.camera]).norm(dim=-1)
    return bounds, 0.5 * float(distances.quantile(OUTLIERS))
