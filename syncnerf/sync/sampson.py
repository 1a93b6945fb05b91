"""Pairwise lags from point tracks by the Sampson epipolar error; cameras may move (VisualSync, arXiv 2512.02017)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor
from torch.nn.functional import normalize, pad

from syncnerf.scene import Camera
from syncnerf.sync.resampling import points_at_frames
from syncnerf.sync.tracks import Tracks

TOLERANCE = 0.7
"""Sampson error, in pixels, at which a pair of points half agrees."""
STATIC_ERROR = 0.6
"""Tracks that a fixed point in space explains to this many pixels (root mean square) stand still."""
LEAST_COMMON = 6
"""Frames that two tracks must share."""
COLOUR_DISTANCE = 30.0
"""Grey levels (root mean square over channels) by which the colours of one point may differ between cameras."""


@dataclass(frozen=True)
class RayTracks:
    """A camera's moving tracks as rays in the world, so that the camera's own motion is accounted for.

    Attributes:
        centres: the camera's place at each frame, float64, shape [T, 3].
        rays: unit directions, float64, shape [T, N, 3]; zero where a track is not visible.
        visible: bool, shape [T, N].
        colours: grey levels, float32, shape [N, 3], or None.
        times: of the frames on the camera's own clock, seconds, float64, shape [T].
        focal: focal length in pixels: turns angles into pixels.
        ids: numbers that one point has in all cameras, int64, shape [N], or None.
        features: what each point looks like, float32, shape [N, D], or None.
    """

    centres: Float64[Tensor, "T 3"]
    rays: Float64[Tensor, "T N 3"]
    visible: Bool[Tensor, "T N"]
    colours: Float32[Tensor, "N 3"] | None
    times: Float64[Tensor, " T"]
    focal: float
    ids: Int64[Tensor, " N"] | None = None
    features: Float32[Tensor, "N D"] | None = None

    def __len__(self) -> int:
        return self.rays.shape[1]

    @property
    def interval(self) -> float:
        """Median time from frame to frame, seconds."""
        return float(self.times.diff().median())

    @property
    def length(self) -> float:
        """Seconds from the first frame's begin to the last one's end."""
        return float(self.times[-1] - self.times[0]) + self.interval

    def chosen(self, which: Bool[Tensor, " N"] | Int64[Tensor, " K"]) -> RayTracks:
        """Some of the tracks, by a mask or numbers."""
        each = {name: getattr(self, name) for name in ("colours", "ids", "features")}
        known = {name: values[which] for name, values in each.items() if values is not None}
        return replace(self, rays=self.rays[:, which], visible=self.visible[:, which], **known)


def ray_tracks(tracks: Tracks, camera: Camera) -> RayTracks:
    """Turn tracks into rays, and leave out those that a fixed point in space explains."""
    every = all_rays(tracks, camera)
    return every.chosen(static_error(every) > STATIC_ERROR)


def all_rays(tracks: Tracks, camera: Camera) -> RayTracks:
    """Turn tracks into rays, those of still points as well."""
    intrinsics = camera.intrinsics
    poses = torch.stack([camera.pose(frame) for frame in range(camera.frame_count)])
    local = intrinsics.directions(points_at_frames(tracks.points.double(), tracks.visible, camera))
    rays = normalize(local @ poses[:, :3, :3].transpose(1, 2), dim=-1) * tracks.visible[..., None]
    focal = 0.5 * (intrinsics.focal_x + intrinsics.focal_y)
    known = {"colours": tracks.colours, "ids": tracks.ids, "features": tracks.features}
    return RayTracks(poses[:, :3, 3], rays, tracks.visible, times=camera.frame_times, focal=focal, **known)


def static_error(tracks: RayTracks) -> Float64[Tensor, " N"]:
    """How badly the fixed point (or direction) that suits each track best explains it, pixels (RMS), shape [N].

    The point minimises the squared sines of the angles to the rays, in homogeneous form. Seen from a camera that stands
    still it has no depth, only a direction.
    """
    scale = tracks.centres.std(dim=0, correction=int(len(tracks.centres) > 1)).norm()  # of one frame: 0
    origin = tracks.centres.mean(0)
    still = bool(scale < 1e-9)
    centres = (tracks.centres - origin) / (1.0 if still else scale)
    # rays x (point - weight * centre) = 0, linear in (point, weight).
    zero = torch.zeros_like(tracks.rays[..., 0])
    dx, dy, dz = tracks.rays.unbind(-1)
    cross = torch.stack([zero, -dz, dy, dz, zero, -dx, -dy, dx, zero], -1).reshape(*tracks.rays.shape[:2], 3, 3)
    rows = cross if still else torch.cat([cross, -cross @ centres[:, None, :, None]], dim=-1)
    normal = torch.einsum("tnia,tnib->nab", rows, rows)
    point = torch.linalg.eigh(normal)[1][..., 0]
    point = pad(point, (0, 4 - point.shape[-1]))
    towards = point[None, :, :3] - point[None, :, 3:] * centres[:, None]
    sine = torch.linalg.cross(tracks.rays, normalize(towards, dim=-1)).square().sum(-1)
    count = tracks.visible.sum(0).clamp_min(1)
    return tracks.focal * (sine.sum(0) / count).sqrt()


def at_times(
    tracks: RayTracks, times: Float64[Tensor, " K"]
) -> tuple[Float64[Tensor, "K 3"], Float64[Tensor, "K N 3"], Bool[Tensor, "K N"]]:
    """Centres [K, 3], rays [K, N, 3] and visibility [K, N] at times of the camera's own clock (shape [K])."""
    last = len(tracks.times) - 1
    lower = (torch.searchsorted(tracks.times, times, right=True) - 1).clamp(0, max(last - 1, 0))
    inside = (times >= tracks.times[0]) & (times <= tracks.times[-1])
    upper = (lower + 1).clamp_max(last)
    span = (tracks.times[upper] - tracks.times[lower]).clamp_min(1e-12)
    share = ((times - tracks.times[lower]) / span)[:, None]
    centres = tracks.centres[lower] * (1 - share) + tracks.centres[upper] * share
    rays = tracks.rays[lower] * (1 - share[..., None]) + tracks.rays[upper] * share[..., None]
    visible = tracks.visible[lower] & tracks.visible[upper] & inside[:, None]
    return centres, normalize(rays, dim=-1), visible


def squared_sampson(
    centres: tuple[Float64[Tensor, "K 3"], Float64[Tensor, "K 3"]],
    rays: tuple[Float64[Tensor, "K N 3"], Float64[Tensor, "K M 3"]],
) -> Float64[Tensor, "K N M"]:
    """Squared Sampson error of every ray of one camera with every ray of another, on the unit sphere.

    For rays a, b and the baseline t the epipolar constraint is t . (a x b) = 0; its first-order distance is the
    constraint over the norm of its gradient in the tangent planes of a and b.

    Args:
        centres: of the two cameras, each of shape [K, 3].
        rays: unit directions, shapes [K, N, 3] and [K, M, 3].

    Returns:
        Squared angles in radians^2, shape [K, N, M].
    """
    along = (centres[1] - centres[0])[:, None]
    normals = [torch.linalg.cross(along.expand_as(ray), ray) for ray in rays]
    constraint = normals[0] @ rays[1].transpose(1, 2)
    gradient = normals[0].square().sum(-1)[:, :, None] + normals[1].square().sum(-1)[:, None, :]
    # The gradients' parts along the rays themselves are the constraint: they lie outside the tangent planes.
    tangent = (gradient - 2 * constraint.square()).clamp_min(1e-12)
    return constraint.square() / tangent


def match_energy(
    first: RayTracks, second: RayTracks, shift: float, stride: int = 1
) -> tuple[Float32[Tensor, "N M"], Float32[Tensor, "N M"]]:
    """Robust mean Sampson error of every pair of tracks at a shift between the clocks.

    Args:
        first: tracks of the one camera.
        second: tracks of the other.
        shift: offset[first] - offset[second], seconds: what the first camera sees at time t of its own clock, the
            second sees at t + shift of its own.
        stride: use every so many frames of the first camera.

    Returns:
        Energies between 0 (agree) and 1, and numbers of common frames; both float32, shape [N, M].
    """
    robust, common = _robust_errors(first, second, shift, stride)
    count = common.sum(0)
    return (robust * common).sum(0) / count.clamp_min(1), count * stride


def matched_energy(
    first: RayTracks, second: RayTracks, shift: float, rows: Int64[Tensor, " K"], columns: Int64[Tensor, " K"]
) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
    """Robust Sampson errors of matched tracks at a shift, frame by frame.

    Args:
        first: tracks of the one camera.
        second: tracks of the other.
        shift: offset[first] - offset[second], seconds.
        rows: the first camera's track of each match, int64, shape [K].
        columns: the second camera's.

    Returns:
        For each frame of the first camera the sum of the matches' errors (each between 0 and 1), and how many matches
        are visible in both; both of shape [T].
    """
    robust, common = _robust_errors(first.chosen(rows), second.chosen(columns), shift, 1, paired=True)
    return (robust * common).sum(1), common.sum(1)


def _robust_errors(
    first: RayTracks, second: RayTracks, shift: float, stride: int, paired: bool = False
) -> tuple[Tensor, Tensor]:
    """Errors in [0, 1] per frame and pair of tracks, and whether both are visible; [T, N, M], or [T, N] if paired."""
    frames = torch.arange(0, len(first.centres), stride)
    centres, rays, visible = at_times(second, first.times[frames] + shift)
    centres, rays = (first.centres[frames], centres), (first.rays[frames], rays)
    if paired:
        rays = tuple(ray.flatten(0, 1)[:, None] for ray in rays)
        centres = tuple(centre.repeat_interleave(first.rays.shape[1], dim=0) for centre in centres)
    squared = squared_sampson(centres, rays).float()
    tolerance = TOLERANCE / math.sqrt(first.focal * second.focal)
    robust = squared / (squared + tolerance**2)
    seen = first.visible[frames].float(), visible.float()
    if paired:
        return robust.reshape(seen[0].shape), seen[0] * seen[1]
    return robust, seen[0][:, :, None] * seen[1][:, None, :]


def may_match(first: RayTracks, second: RayTracks) -> Bool[Tensor, "N M"]:
    """Which pairs of tracks are alike in colour, bool, shape [N, M]; all where colours are unknown."""
    if first.colours is None or second.colours is None:
        return torch.ones(len(first), len(second), dtype=torch.bool)
    return torch.cdist(first.colours, second.colours) / math.sqrt(3) < COLOUR_DISTANCE
