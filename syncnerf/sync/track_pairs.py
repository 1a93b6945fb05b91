"""Landscapes, peaks and matches of cameras whose motion is known as tracks (VisualSync, arXiv 2512.02017)."""

import logging
import math
from pathlib import Path

import torch
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.scene import Camera, Scene
from syncnerf.sync.comparison import Comparison
from syncnerf.sync.landscape import Landscape, Peak, stand_out
from syncnerf.sync.sampson import LEAST_COMMON, RayTracks, match_energy, matched_energy, may_match, ray_tracks
from syncnerf.sync.track_files import read_tracks
from syncnerf.sync.tracks import follow_points
from syncnerf.sync.uncertainty import Sensitivity
from syncnerf.sync.workers import in_parallel

logger = logging.getLogger(__name__)

COARSE_STRIDE = 2
"""The exhaustive search over shifts looks at every second frame."""
FINE_STEP = 0.25
"""Frames between the shifts of the last search."""
FINE_REACH = 1.5
"""Frames on either side of the best whole shift that it covers."""
LEAST_MATCHES = 8
"""A pair with fewer matched tracks is not used."""
LONGEST_LAG = 2 / 3
"""Largest shift, as a share of the shorter video."""
LEAST_SIGNIFICANCE, LEAST_LEAD = 3.0, 1.0
"""Smallest height and lead of an accepted peak; a track landscape has few independent shifts, so they are lower."""


def prepare_tracks(scene: Scene, path: Path | None) -> list[RayTracks]:
    """Moving tracks of every camera, from files (:func:`read_tracks`) or by Lucas-Kanade.

    Raises:
        UserError: a file is missing or unfit, or no track moves in any video.
    """

    def moving_tracks(camera: Camera) -> RayTracks:
        cache = scene.frame_cache
        if path is None:
            found = follow_points(cache.open(camera))
        else:
            found = read_tracks(path, camera, zoom=cache.lens(camera.name).zoom)
        moving = ray_tracks(found, camera)
        logger.debug("%s: %d tracks, %d of them move", camera.name, len(found), len(moving))
        return moving

    tracks = in_parallel(moving_tracks, scene.cameras, "tracks", "camera")
    if not any(len(track) for track in tracks):
        raise UserError(f"{scene.root}: no track moves in any of the videos; synchronising them needs motion")
    return tracks


def compare_tracks(tracks: list[RayTracks], first: int, second: int, max_offset: float | None) -> Comparison:
    """The landscape of two cameras from their tracks.

    At each shift every track takes its best partner in the other camera (alike in colour, enough common frames); the
    landscape is the mean agreement, one minus the robust Sampson error. At the best shift mutual best partners are
    matched for good, and their mean error is minimised to a fraction of a frame.

    Args:
        tracks: of all cameras.
        first: global index of the one camera.
        second: global index of the other.
        max_offset: largest lag that is considered, seconds; None for two thirds of the shorter video.
    """
    one, two = tracks[first], tracks[second]
    if min(len(one), len(two)) < LEAST_MATCHES:
        return Comparison(first, second, None, None, "too few moving tracks")
    if float((one.centres[:, None] - two.centres[None]).norm(dim=-1).max()) < 1e-9:
        return Comparison(first, second, None, None, "no baseline (both cameras stand in the same place)")
    step = min(one.interval, two.interval)
    longest = LONGEST_LAG * min(one.length, two.length)
    if max_offset is not None:
        longest = min(longest, max_offset)
    # Videos of different length: the whole shorter one may lie anywhere in the longer.
    slack = one.length - two.length if max_offset is None else 0.0
    low, high = -longest - max(slack, 0.0), longest + max(-slack, 0.0)
    steps = torch.arange(math.ceil(low / step), math.floor(high / step) + 1, dtype=torch.float64)
    # The first frames need not be at 0 of their clocks.
    lags = steps * step + float(two.times[0] - one.times[0])
    alike = may_match(one, two)
    values = torch.tensor([_agreement(one, two, lag, alike) for lag in lags.tolist()], dtype=torch.float64)
    best = int(values.argmax())
    lengths = [one.length, two.length]
    common = (lengths[1] - steps * step).clamp_max(lengths[0]) - (-steps * step).clamp_min(0)
    landscape = Landscape(first, second, lags, values, common.clamp_min(0) / step)
    significance, lead = stand_out(values, best)
    peak, matches, pull = _refine(one, two, float(lags[best]), step, alike, significance, lead)
    return Comparison(first, second, landscape, peak, _reason(peak, matches), pull, whole=landscape)


def _reason(peak: Peak, matches: int) -> str:
    """Why a pair should not be used; empty if it may be."""
    if matches < LEAST_MATCHES:
        return f"only {matches} tracks match"
    if not peak.significance >= LEAST_SIGNIFICANCE:
        return f"no shared motion (best shift only {peak.significance:.1f} deviations above the others)"
    if not peak.lead >= LEAST_LEAD:
        return f"no distinct best shift (leads the next by {peak.lead:.1f} deviations)"
    return ""


def _agreement(one: RayTracks, two: RayTracks, lag: float, alike: Tensor) -> float:
    """Mean over tracks of how well the best partner agrees, in [0, 1]."""
    energy, common = match_energy(one, two, lag, COARSE_STRIDE)
    eligible = alike & (common >= LEAST_COMMON)
    agreement = (1 - energy) * eligible
    best = [agreement.amax(1)[eligible.any(1)], agreement.amax(0)[eligible.any(0)]]
    total = torch.cat(best)
    return float(total.mean()) if len(total) >= 2 * LEAST_MATCHES else 0.0


def _refine(
    one: RayTracks, two: RayTracks, lag: float, step: float, alike: Tensor, significance: float, lead: float
) -> tuple[Peak, int, Sensitivity | None]:
    """Sub-frame peak from tracks matched at the best whole shift, the number of matches, and the frames' pulls."""
    energy, common = match_energy(one, two, lag)
    energy = torch.where(alike & (common >= LEAST_COMMON), energy, torch.ones(()))
    partner = energy.argmin(1)
    mutual = energy.argmin(0)[partner] == torch.arange(len(partner))
    chosen = mutual & (energy.amin(1) < 0.5)
    rows, columns = chosen.nonzero()[:, 0], partner[chosen]
    if len(rows) < LEAST_MATCHES:
        return Peak(lag, math.inf, significance, lead), len(rows), None
    offsets = torch.arange(-FINE_REACH, FINE_REACH + 0.5 * FINE_STEP, FINE_STEP, dtype=torch.float64)
    curves = [matched_energy(one, two, lag + offset * step, rows, columns) for offset in offsets.tolist()]
    energies = torch.stack([curve[0] for curve in curves]).double()
    counts = torch.stack([curve[1] for curve in curves]).double()
    level = float(energies.sum() / counts.sum().clamp_min(1))
    # Against the mean level, frames that a shift moves out of one of the tracks neither help nor harm it.
    per_frame = level * counts - energies
    highest = int(per_frame.sum(1).argmax())
    window = slice(max(0, highest - 3), highest + 4)
    # A parabola by least squares: these samples are noisy, not band-limited.
    design = torch.stack([offsets[window] ** 2, offsets[window], torch.ones_like(offsets[window])], dim=-1)
    parts = torch.linalg.pinv(design) @ per_frame[window]
    bend, slope = float(parts[0].sum()), float(parts[1].sum())
    place = -slope / (2 * bend) if bend < 0 else float(offsets[highest])
    place = min(max(place, -FINE_REACH), FINE_REACH)
    # Errors within a track are alike, so it is the number of tracks that averages them.
    deviation = math.sqrt(max(float(energies[highest].sum()), 1e-3) / max(-2 * bend, 1e-3) / len(rows))
    pull = Sensitivity((2 * parts[0] * place + parts[1]) / step, 2 * parts[0] / step**2, one.interval)
    return Peak(lag + place * step, deviation * step, significance, lead), len(rows), pull
