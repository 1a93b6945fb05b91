"""Everything that is known of a scene before a training, as one: points, and ways through space."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from syncnerf.clock import Clock
from syncnerf.scene.geometry import StartingPaths, StartingPoints
from syncnerf.scene.points import scene_points
from syncnerf.scene.scene import Scene
from syncnerf.scene.stereo import can_be_compared
from syncnerf.starting.bodies import free_bodies
from syncnerf.starting.flying import FlyingPoints, flying_points
from syncnerf.starting.given_points import given_points
from syncnerf.starting.given_tracks import given_tracks
from syncnerf.starting.matching import MATCHINGS
from syncnerf.starting.options import StartConfig
from syncnerf.starting.own_times import OwnTimes
from syncnerf.starting.passing import fine_space, passing_surfaces
from syncnerf.starting.sights import nearest_frames
from syncnerf.starting.space_tracks import SpaceTracks, triangulated_tracks
from syncnerf.starting.still_points import still_points
from syncnerf.starting.surfaces import ColouredPoints, moment_surfaces
from syncnerf.sync.sampson import RayTracks, ray_tracks
from syncnerf.sync.tracks import follow_points
from syncnerf.sync.workers import in_parallel

logger = logging.getLogger(__name__)

MOST_MOMENTS = 120
"""Moments at which surfaces are carved at most: each of the tracks' moments, or every second, third one."""
FLYING_EVERY = 2
"""What flies is looked for at every second of these: its velocities tell where it is between."""
NONE = torch.empty(0, 3)
"""No points."""
MOST_OBSERVATIONS = 50_000
"""Points at most that are taken from tracks."""


@torch.no_grad()
def starting_points(
    scene: Scene, clock: Clock, hull: Bool[Tensor, "X Y Z"] | None, config: StartConfig
) -> StartingPoints | None:
    """What a field may start from; None, with a warning, where nothing is known. Another says that nothing moves.

    With a known background, surfaces are carved moment by moment, as the clock has the frames by now. Without, there
    are the points of the still scene and those of the tracks.

    Args:
        scene: the scene, its frames decoded.
        clock: what is known of its cameras' offsets.
        hull: cells that may hold something at some time, or None where that is not known.
        config: tracks that are given, and how they are matched.

    Raises:
        UserError: tracks that are given cannot be used.
    """
    own_times = OwnTimes.of(clock)
    first, last = clock.first, clock.last
    frames = clock.frame_count(scene.frame_interval)
    times = torch.linspace(first, last, frames, dtype=torch.float64)
    matching = MATCHINGS[config.track_matching]
    if config.tracks:
        tracks = given_tracks(scene, Path(config.tracks), own_times, times, matching)
    else:
        tracks = triangulated_tracks(scene, moving_tracks(scene), own_times, times, matching)
    moments, flying = times[:: -(-frames // MOST_MOMENTS)], None
    if hull is None:
        points, flying = _room_points(scene, tracks, moments, own_times)
    else:
        points = moment_surfaces(scene, hull, moments, own_times)
        flying = flying_points(scene, hull, moments[::FLYING_EVERY], own_times)
        if flying is not None:
            cell = float((scene.bounds[1] - scene.bounds[0]).max()) / max(hull.shape)
            points = without_flying(points, flying, 0.5 * scene.frame_interval, 2.0 * cell)
        if config.tracks:  # who gives tracks vouches for where they are
            points = points.and_also(seen_points(scene, tracks, own_times))
    return _as_start(scene, clock, points, flying, tracks)


def _as_start(
    scene: Scene, clock: Clock, points: ColouredPoints, flying: FlyingPoints | None, tracks: SpaceTracks
) -> StartingPoints | None:
    """All that is known, at the field's times."""
    velocities = torch.full_like(points.places, torch.nan)
    if flying is not None:
        points = points.and_also(ColouredPoints(flying.places, flying.times, flying.colours))
        span = torch.tensor([0.0, 1.0], dtype=torch.float64)
        velocities = torch.cat([velocities, flying.velocities / float(clock.moments(span).diff())])
    if not len(points.places):
        logger.warning("%s: no points to start from; the field starts anywhere in its box", scene.root)
        return None
    if bool(points.times.isnan().all()):
        logger.warning("%s: nothing is found to move in it; the field starts from still points alone", scene.root)
    paths = StartingPaths(clock.moments(tracks.times), tracks.places, tracks.seen)
    return StartingPoints(points.places.double(), points.colours, clock.moments(points.times), velocities, paths)


def _room_points(
    scene: Scene, tracks: SpaceTracks, moments: Tensor, own_times: OwnTimes
) -> tuple[ColouredPoints, FlyingPoints | None]:
    """What is known before an unknown background: the still scene, what passes before it, the tracks; what flies."""
    given = given_points(scene)
    if can_be_compared(scene):
        still = given.and_also(still_points(scene, _liveliest(tracks)))
        if len(still.places):
            passing = passing_surfaces(scene, moments, own_times)
            flying, flies = free_bodies(passing, moments, fine_space(scene).size)
            return still.and_also(passing.chosen(~flies)).and_also(seen_points(scene, tracks, own_times)), flying
    if len(given.places):
        return given.and_also(seen_points(scene, tracks, own_times)), None
    return seen_points(scene, tracks, own_times, scene_points(scene).places), None


def _liveliest(tracks: SpaceTracks) -> float:
    """The moment at which most tracks are seen."""
    return float(tracks.times[tracks.seen.sum(dim=1).argmax()])


def without_flying(points: ColouredPoints, flying: FlyingPoints, blur: float, margin: float) -> ColouredPoints:
    """Points but for those that were carved, with a margin, around what flies, from frames ``blur`` seconds off."""
    kept = torch.ones(len(points.places), dtype=torch.bool)
    known = flying.times.unique()
    for moment in points.times[points.times.isfinite()].unique():
        mine = flying.times == known[(known - moment).abs().argmin()]
        since = (moment - flying.times[mine]).float()[:, None]
        places = flying.places[mine] + since * flying.velocities[mine]
        now = (points.times == moment).nonzero()[:, 0]
        around = margin + (flying.velocities[mine] * blur).norm(dim=-1)
        kept[now] = ~(torch.cdist(points.places[now], places) < around).any(dim=1)
    return points.chosen(kept)


def moving_tracks(scene: Scene) -> dict[int, RayTracks]:
    """Tracks that move in the videos of the training cameras, as rays, by global camera index."""

    def of(index: int) -> RayTracks:
        return ray_tracks(follow_points(scene.frames(index)), scene.cameras[index])

    return dict(zip(scene.train, in_parallel(of, scene.train, "tracks", "camera"), strict=True))


def seen_points(
    scene: Scene, tracks: SpaceTracks, own_times: OwnTimes, still: Float[Tensor, "P 3"] = NONE
) -> ColouredPoints:
    """Points [P, 3] that stand still, and those of tracks where they are known, in colours that a camera sees."""
    when, which = tracks.seen.nonzero().unbind(-1)
    if len(when) > MOST_OBSERVATIONS:
        some = torch.randperm(len(when))[:MOST_OBSERVATIONS]
        when, which = when[some], which[some]
    places = torch.cat([still.float(), tracks.places[when, which]])
    times = torch.cat([torch.full((len(still),), torch.nan, dtype=torch.float64), tracks.times[when]])
    colours = torch.full((len(places), 3), torch.nan)
    for index in scene.train:
        colours = torch.where(colours.isnan(), _colours(scene, index, places, own_times(index, times)), colours)
    known = colours.isfinite().all(dim=-1)
    return ColouredPoints(places[known], times[known], colours[known])


def _colours(scene: Scene, index: int, places: Tensor, times: Tensor) -> Tensor:
    """Colours [P, 3] in a camera's picture of points at times on its own clock (NaN: its middle frame); NaN if none."""
    camera, frames = scene.cameras[index], scene.frames(index)
    colours = torch.full((len(places), 3), torch.nan)
    own = camera.frame_times
    nearest, filmed = nearest_frames(own, times.nan_to_num(float(own[len(own) // 2])))
    for frame in nearest[filmed].unique().tolist():
        shown = (filmed & (nearest == frame)).nonzero()[:, 0]
        pixel, _, inside = camera.pixels_of(places[shown].double(), frame)
        if bool(inside.any()):
            picture = torch.from_numpy(frames[frame].copy())
            colours[shown[inside]] = picture.reshape(-1, 3)[pixel[inside]].float() / 255.0
    return colours
