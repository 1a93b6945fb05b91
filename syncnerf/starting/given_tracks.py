"""Tracks of any tracker, in pictures or in space, as ways through space on the scene's clock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene import Camera, Scene
from syncnerf.starting.matching import Matching
from syncnerf.starting.own_times import OwnTimes
from syncnerf.starting.space_tracks import SpaceTracks, triangulated_tracks
from syncnerf.sync.sampson import STATIC_ERROR, RayTracks, ray_tracks
from syncnerf.sync.track_files import read_tracks, tracked_cameras
from syncnerf.sync.tracks import Tracks, first_colours

MOST_TRACKS, MOST_PATHS = 600, 4000
"""Moving tracks without ids of each camera that are matched, and ways through space that are kept, at most."""


def given_tracks(
    scene: Scene, path: Path, own_times: OwnTimes, times: Float64[Tensor, " T"], matching: Matching
) -> SpaceTracks:
    """What moves, from files of tracks (:func:`read_tracks`), those in pictures triangulated.

    Tracks of test cameras are left out: nothing is known of these cameras' clocks.

    Args:
        scene: whose cameras they are, its frames decoded.
        path: folder or file.
        own_times: of the cameras at moments of the scene.
        times: scene times at which the points are wanted, seconds, float64, shape [T].
        matching: of tracks without common ids.

    Raises:
        UserError: the tracks cannot be read, do not fit the cameras, or none that moves can be placed in space.
    """
    named = tracked_cameras(path, scene.names)
    flat: dict[int, RayTracks] = {}
    found = [SpaceTracks(times, torch.empty(len(times), 0, 3), torch.empty(len(times), 0, dtype=torch.bool))]
    for index in scene.train:
        camera = scene.cameras[index]
        if camera.name not in named:
            continue
        tracks = read_tracks(path, camera, (2, 3), scene.frame_cache.lens(camera.name).zoom)
        if tracks.points.shape[2] == 2:
            # One point has about one colour in all cameras, which tells many tracks apart.
            tracks = replace(tracks, colours=first_colours(scene.frames(index), tracks))
            moving = ray_tracks(tracks, camera)
            flat[index] = moving.chosen(_some(len(moving), len(moving) if tracks.ids is not None else MOST_TRACKS))
        else:
            found.append(in_space(tracks, camera, own_times(index, times), times))
    if len(flat) > 1:
        found.append(triangulated_tracks(scene, flat, own_times, times, matching))
    places, seen = torch.cat([one.places for one in found], dim=1), torch.cat([one.seen for one in found], dim=1)
    if not places.shape[1]:
        counts = ", ".join(f"{len(one)} of {scene.cameras[index].name}" for index, one in flat.items())
        raise UserError(
            f"{path}: tracks do not fit the cameras: none that moves is seen by two of them in one place "
            f"({counts or 'none'} move); see what syncnerf info --points says of the cameras, and sync of the offsets"
        )
    kept = _some(places.shape[1], MOST_PATHS)
    return SpaceTracks(times, places[:, kept], seen[:, kept])


def _some(count: int, most: int) -> Tensor:
    """Numbers of at most so many things, evenly spread: neighbours in a file are often neighbours in the picture."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def in_space(tracks: Tracks, camera: Camera, own: Float64[Tensor, " T"], times: Float64[Tensor, " T"]) -> SpaceTracks:
    """A camera's tracks through space at times on its own clock (float64, shape [T]), those that move.

    They move if their camera would see them do so, or see their depth change by as much.
    """
    places, visible = tracks.points, tracks.visible
    shown = visible[..., None].float()
    middle = (places * shown).sum(dim=0) / shown.sum(dim=0).clamp_min(1)
    swing = (((places - middle) * shown).square().sum(dim=(0, 2)) / shown.sum(dim=(0, 2)).clamp_min(1)).sqrt()
    depth = (middle - camera.pose(camera.frame_count // 2)[:3, 3].float()).norm(dim=-1).clamp_min(1e-9)
    moving = camera.intrinsics.focal_x * swing / depth > STATIC_ERROR
    places, visible, clock = places[:, moving], visible[:, moving], camera.frame_times
    before = (torch.searchsorted(clock, own, right=True) - 1).clamp(0, max(len(clock) - 2, 0))
    after = (before + 1).clamp_max(len(clock) - 1)
    share = ((own - clock[before]) / (clock[after] - clock[before]).clamp_min(1e-12)).float()[:, None, None]
    seen = visible[before] & visible[after] & ((own >= clock[0]) & (own <= clock[-1]))[:, None]
    between = places[before] * (1 - share) + places[after] * share
    return SpaceTracks(times, torch.where(seen[..., None], between, 0.0), seen).lasting()
