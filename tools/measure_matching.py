"""How well tracks without common ids are matched between videos: by epipolar geometry, and by optimal transport.

    python tools/measure_matching.py [--quick] [--seeds 3]

Scenes of textured spheres that tumble, filmed without noise; tracks are Lucas-Kanade's, and what each one follows is
known from casting its rays. A match is right where both tracks follow one spot to within some pixels. Offsets are the
true ones, or wrong by some frames. Features, where there are any, are of the true spot under noise. Two ways know
nothing of cameras and clocks: the nearest features (or colours), and transport by these alone, as in SyncTrack4D.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from moving_spheres import Arc, Spheres, sphere_scene

from syncnerf.scene import Scene
from syncnerf.starting.matching import MATCHINGS, Matches, mutual, transported
from syncnerf.sync.sampson import RayTracks, ray_tracks
from syncnerf.sync.tracks import follow_points

OFFSETS = (0.0, 0.12, -0.09, 0.21)
SIDE, FRAMES, SPAN = 224, 40, 60.0
RIGHT = 3.0
"""Pixels within which two tracks follow one spot."""
FEATURES, NOISE = 16, 0.5
"""Length of the features, and their noise, as a share of their own deviation."""


def spots(tracks: RayTracks, spheres: Spheres, offset: float) -> tuple[Tensor, Tensor]:
    """Which sphere each track follows, int64 [N] (-1 for none, or several), and where on it, unit vectors [N, 3]."""
    which = torch.full(tracks.visible.shape, -1, dtype=torch.int64)
    where = torch.zeros(*tracks.visible.shape, 3, dtype=torch.float64)
    for frame, time in enumerate((tracks.times + offset).tolist()):
        centres, turns = spheres.centres(time), spheres.rotations(time)
        nearest = torch.full((len(tracks),), torch.inf, dtype=torch.float64)
        for number, radius in enumerate(spheres.radii):
            away = tracks.centres[frame] - torch.from_numpy(centres[number])
            half = tracks.rays[frame] @ away
            inside = half.square() - (away @ away - radius**2)
            distance = -half - inside.clamp_min(0.0).sqrt()
            hit = (inside > 0) & (distance < nearest) & tracks.visible[frame]
            normal = (away + distance[:, None] * tracks.rays[frame]) / radius
            which[frame, hit], nearest[hit] = number, distance[hit]
            where[frame, hit] = (normal @ torch.from_numpy(turns[number]))[hit]
    found, places = torch.full((len(tracks),), -1, dtype=torch.int64), torch.zeros(len(tracks), 3).double()
    for track in range(len(tracks)):
        mine = which[:, track][tracks.visible[:, track]]
        if len(mine) and int(mine[0]) >= 0 and bool((mine == mine[0]).all()):
            found[track] = mine[0]
            places[track] = where[:, track][tracks.visible[:, track]].median(dim=0).values
    return found, places


def featured(tracks: RayTracks, spot: tuple[Tensor, Tensor], generator: torch.Generator) -> RayTracks:
    """Tracks with features that tell their spots, under noise."""
    which, where = spot
    waves = torch.randn(64, 3, FEATURES, generator=torch.Generator().manual_seed(1))
    smooth = torch.einsum("nd,ndf->nf", 2.0 * where.float(), waves[which.clamp_min(0)]).sin()
    return replace(tracks, features=smooth + NOISE * torch.randn(smooth.shape, generator=generator))


def by_looks(one: RayTracks, two: RayTracks, structure: bool) -> Matches:
    """Matches without cameras and clocks: by features, else by colours, with the distances in each video or without."""
    looks = [tracks.features if tracks.features is not None else tracks.colours for tracks in (one, two)]
    if looks[0] is None:
        cost = torch.zeros(len(one), len(two))
    else:
        cost = torch.cdist(*looks)
        cost = cost / cost.median()
    everything = torch.ones(cost.shape, dtype=torch.bool)
    return mutual(-transported(cost, one, two) if structure else cost, everything)


WAYS = MATCHINGS | {
    "looks": lambda one, two, shift: by_looks(one, two, False),
    "looks, transport": lambda one, two, shift: by_looks(one, two, True),
}
"""What is compared."""


def judged(found: tuple[Tensor, Tensor], true: Tensor) -> np.ndarray:
    """Right matches, matches, and tracks that have a right one at all."""
    return np.array([int(true[found].sum()), len(found[0]), int(true.any(dim=1).sum())])


def measure(seed: int, cases: dict[str, tuple[float, bool, bool]]) -> dict[tuple[str, str], np.ndarray]:
    """Counts of one scene by case and way of matching, over all pairs of cameras."""
    spheres = Spheres(8, seed, checked=True)
    generator = torch.Generator().manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        scene: Scene = sphere_scene(
            Path(folder), OFFSETS, frames=FRAMES, size=(SIDE, SIDE), arc=Arc(SPAN), spheres=spheres
        )
        scene.frame_cache.prepare(scene.cameras)
        tracks = [ray_tracks(follow_points(scene.frame_cache.open(camera)), camera) for camera in scene.cameras]
    known = [spots(one, spheres, offset) for one, offset in zip(tracks, OFFSETS, strict=True)]
    described = [featured(one, spot, generator) for one, spot in zip(tracks, known, strict=True)]
    sums = {(case, way): np.zeros(3) for case in cases for way in WAYS}
    for a, b in itertools.combinations(range(len(tracks)), 2):
        (which, where), (which_2, where_2) = known[a], known[b]
        radii = torch.from_numpy(spheres.radii)[which.clamp_min(0)]
        reach = RIGHT * 4.0 / tracks[a].focal / radii
        true = (which[:, None] == which_2) & (which >= 0)[:, None] & (torch.cdist(where, where_2) < reach[:, None])
        for case, (late, coloured, features) in cases.items():
            one, two = ((described if features else tracks)[index] for index in (a, b))
            if not coloured:
                one, two = replace(one, colours=None), replace(two, colours=None)
            for way, match in WAYS.items():
                found = match(one, two, OFFSETS[a] - OFFSETS[b] + late * one.interval)
                sums[case, way] += judged(found, true)
    return sums


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="scenes")
    parser.add_argument("--quick", action="store_true", help="one scene")
    arguments = parser.parse_args()
    cases = {
        "places alone": (0.0, False, False),
        "and colours": (0.0, True, False),
        "and features": (0.0, True, True),
        "clocks half a frame off": (0.5, True, False),
        "clocks two frames off": (2.0, True, False),
    }
    totals = {(case, way): np.zeros(3) for case in cases for way in WAYS}
    for seed in range(1 if arguments.quick else arguments.seeds):
        for key, counts in measure(seed, cases).items():
            totals[key] += counts
    print(f"{'tracks with':26}{'matching':18}{'matches':>8}{'right':>8}{'found':>8}")
    for (case, way), (right, matches, possible) in totals.items():
        print(f"{case:26}{way:18}{matches:8.0f}{right / max(matches, 1):8.1%}{right / max(possible, 1):8.1%}")


if __name__ == "__main__":
    main()
