"""Whether views are of one place seen by the cameras that were asked for: matches against commanded epipolar lines."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import combinations

import kornia.feature
import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from kornia.geometry.epipolar import fundamental_from_projections, sampson_epipolar_distance
from kornia.geometry.ransac import RANSAC
from torch import Tensor

from syncnerf.generate.score import Score
from syncnerf.scene import Scene

WORKING_SIDE = 480
"""Larger frames are averaged down to this many pixels a side."""
NEAR_LINE = 1.5
"""Pixels (Sampson distance, at the working size) within which a match lies on its epipolar line."""
WIDEST_ANGLE = 45.0
"""Degrees between viewing directions beyond which no matches are sought."""
MOST_PAIRS = 12
"""Pairs that are matched at most, nearest directions first."""
MOMENTS = 4
"""Moments at which they are."""
FEATURES, PIXELS_PER_FEATURE = 1500, 30
"""Features of a frame at most, and pixels for each of them."""
LEAST_RESPONSE = 1e-9
"""Corner response of frames in [0, 1] above which a place is a corner at all: next to nothing."""
PATCH = 32
"""Pixels per side of the patches that features are described by."""
RATIO = 0.85
"""Largest ratio of a match's distance to the next best's, both ways (Lowe, IJCV 2004)."""
LEAST_MATCHES = 30
"""With fewer matches in all pairs and moments nothing is said."""


@dataclass(frozen=True)
class Matches:
    """Matches of two views at the same moments.

    Attributes:
        first: index of the one view.
        second: index of the other.
        points: places in both, working pixels, float64, shape [2, M, 2].
        moments: number of the moment of each match, int64, shape [M].
        distances: from the commanded epipolar lines, pixels, float64, shape [M].
    """

    first: int
    second: int
    points: Float64[Tensor, "2 M 2"]
    moments: Int64[Tensor, " M"]
    distances: Float64[Tensor, " M"]

    @property
    def near(self) -> Bool[Tensor, " M"]:
        """Which matches lie on their epipolar lines, bool, shape [M]."""
        return self.distances <= NEAR_LINE


def score_geometry(scene: Scene) -> tuple[Score, list[Matches]]:
    """Share of matches between views at equal times that lie within 1.5 pixels of the commanded epipolar line.

    Matches are corners at several sizes with SIFT descriptors (Lowe, IJCV 2004), upright, each the other's best.
    The floor is the share on the lines of a shuffled rig: each pair's matches against the geometry of the other pairs
    of cameras (each in both orders; the median, since some pairs of a regular rig stand alike). On an arc all lines are
    nearly level, and the floor is high. The ceiling is the share that each pair's best epipolar geometry of all
    explains (RANSAC): the rest are wrong matches, whatever the cameras.

    Args:
        scene: views with the poses they were asked for.

    Returns:
        The score, undetermined below 30 matches, and the matches of every pair, nearest directions first.
    """
    small = scene.resized(WORKING_SIDE)
    small.frame_cache.prepare(small.cameras)
    label, unit = "commanded geometry", f"share of matches within {NEAR_LINE:g} px of the epipolar line"
    chosen = near_pairs(small)
    if not chosen:
        reason = f"no two views in different places look within {WIDEST_ANGLE:g} degrees of each other"
        return Score(label, unit, None, reason=reason), []
    features = {view: _features(small, view) for view in sorted({view for pair in chosen for view in pair})}
    matches = [_match(small, first, second, features) for first, second in chosen]
    total = sum(len(pair.distances) for pair in matches)
    details = {"matches": total, "pairs": [_record(small, pair) for pair in matches]}
    if total < LEAST_MATCHES:
        return Score(label, unit, None, reason=f"only {total} matches between views", details=details), matches
    value = sum(int(pair.near.sum()) for pair in matches) / total
    floor = sum(_shuffled(small, pair) * len(pair.distances) for pair in matches) / total
    ceiling = sum(_explained(pair) * len(pair.distances) for pair in matches) / total
    return Score(label, unit, value, floor, max(value, ceiling), "", details), matches


def near_pairs(scene: Scene) -> list[tuple[int, int]]:
    """Pairs of views that look the same way from different places, nearest directions first; at most 12."""
    poses = [camera.pose(0) for camera in scene.cameras]
    centres = torch.stack([pose[:3, 3] for pose in poses])
    least = 1e-3 * float(torch.pdist(centres).max()) if len(poses) > 1 else 0.0
    found = []
    for first, second in combinations(range(len(poses)), 2):
        cosine = float(poses[first][:3, 2] @ poses[second][:3, 2])
        angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        if angle <= WIDEST_ANGLE and float((centres[first] - centres[second]).norm()) > least:
            found.append((angle, first, second))
    return [(first, second) for _, first, second in sorted(found)[:MOST_PAIRS]]


def moments(scene: Scene) -> Float64[Tensor, " moments"]:
    """Seconds on the cameras' own clocks at which frames are matched, within all videos, float64, shape [4]."""
    end = min(float(camera.frame_times[-1]) for camera in scene.cameras)
    return (torch.arange(MOMENTS, dtype=torch.float64) + 0.5) / MOMENTS * end


def frame_at(scene: Scene, view: int, moment: float) -> int:
    """Number of a view's frame nearest to a moment."""
    return int((scene.cameras[view].frame_times - moment).abs().argmin())


def _features(scene: Scene, view: int) -> list[tuple[Tensor, Tensor]]:
    """Places [N, 2] in pixels (centres at +0.5) and descriptors [N, 128] of a view's frames at all moments.

    Frames smaller than a patch that is described have none.
    """
    if min(scene.frames(view).shape[1:3]) < PATCH:
        return [(torch.empty(0, 2, dtype=torch.float64), torch.empty(0, 128))] * MOMENTS
    # Corners on an image pyramid: on small frames several times as many good matches as blobs, in less time.
    size = scene.cameras[view].intrinsics
    count = min(FEATURES, size.width * size.height // PIXELS_PER_FEATURE)
    levels = {"nms_size": 5, "pyramid_levels": 2, "up_levels": 1, "scale_factor_levels": 2**0.5, "s_mult": 12.0}
    corners = kornia.feature.MultiResolutionDetector(
        kornia.feature.CornerGFTT(), count, levels, ori_module=kornia.feature.PassLAF()
    )
    sift = kornia.feature.SIFTDescriptor(PATCH, rootsift=True)
    describe = kornia.feature.LAFDescriptor(sift, PATCH, grayscale_descriptor=True)
    local = kornia.feature.LocalFeature(corners, describe)
    found = []
    for moment in moments(scene).tolist():
        frame = scene.frames(view)[frame_at(scene, view, moment)]
        grey = torch.from_numpy(frame.astype(np.float32).mean(-1) / 255)[None, None]
        with torch.no_grad():
            frames, responses, descriptors = local(grey)
        real = responses[0] > LEAST_RESPONSE
        found.append((frames[0, real, :, 2].double() + 0.5, descriptors[0, real]))
    return found


def _match(scene: Scene, first: int, second: int, features: dict[int, list[tuple[Tensor, Tensor]]]) -> Matches:
    """Mutual best matches of a pair at all moments, and how far they are from the commanded lines."""
    places, numbers = [], []
    for number, ((one, own), (two, other)) in enumerate(zip(features[first], features[second], strict=True)):
        if min(len(own), len(other)) < 2:
            continue
        _, index = kornia.feature.match_smnn(own, other, RATIO)
        places.append(torch.stack([one[index[:, 0]], two[index[:, 1]]]))
        numbers += [number] * len(index)
    points = torch.cat(places, dim=1) if places else torch.zeros(2, 0, 2, dtype=torch.float64)
    number = torch.tensor(numbers, dtype=torch.int64)
    return Matches(first, second, points, number, _distances(scene, first, second, points, number))


def _distances(scene: Scene, first: int, second: int, points: Tensor, moment: Tensor) -> Tensor:
    """Sampson distances of matches from the epipolar geometry of two cameras, pixels, float64, shape [M]."""
    distances = torch.zeros(points.shape[1], dtype=torch.float64)
    for number, time in enumerate(moments(scene).tolist()):
        own = moment == number
        one, two = (scene.cameras[view].projection(frame_at(scene, view, time)) for view in (first, second))
        matrix = fundamental_from_projections(one[None], two[None])
        squares = sampson_epipolar_distance(points[0, own][None], points[1, own][None], matrix)
        distances[own] = squares[0].sqrt()
    return distances


def _shuffled(scene: Scene, pair: Matches) -> float:
    """Share of a pair's matches near the lines of other pairs of cameras: the median over these."""
    if len(pair.distances) == 0:
        return 0.0
    shares = []
    for first, second in near_pairs(scene):
        for order in ((first, second), (second, first)):
            if order != (pair.first, pair.second):
                distances = _distances(scene, *order, pair.points, pair.moments)
                shares.append(float((distances <= NEAR_LINE).double().mean()))
    return statistics.median(shares)


def _explained(pair: Matches) -> float:
    """Share of a pair's matches that its own best epipolar geometry explains, the same at all moments."""
    if len(pair.distances) < 8:
        return float(pair.near.double().mean()) if len(pair.distances) else 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        search = RANSAC("fundamental", inl_th=NEAR_LINE, max_iter=20)
        _, inliers = search(pair.points[0].float(), pair.points[1].float())
    return max(float(inliers.double().mean()), float(pair.near.double().mean()))


def _record(scene: Scene, pair: Matches) -> dict[str, str | int | float | None]:
    count = len(pair.distances)
    record = {"first": scene.names[pair.first], "second": scene.names[pair.second], "matches": count}
    return record | {"near": float(pair.near.double().mean()) if count else None}
