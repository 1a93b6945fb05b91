"""How synchronous views are that should be exactly so: offsets that should be zero, overall and in windows of time."""

from __future__ import annotations

import statistics
from itertools import combinations
from typing import Any

import numpy as np

from syncnerf.errors import UserError
from syncnerf.generate.altered import picked
from syncnerf.generate.score import Score, known
from syncnerf.scene import Scene
from syncnerf.sync import SyncResult
from syncnerf.sync.result import PairLag
from syncnerf.sync.synchronize import WORKING_SIDE, from_motion

IN_STEP = 0.5
"""Frames by which two views may differ and still count as simultaneous."""
LEAST_WINDOW = 30
"""Frames of a window of time at least: shorter ones hardly ever determine an offset."""
MOST_WINDOWS = 8
"""Windows that a video is cut into at most."""
SLIP_ERRORS = 4.0
"""Standard errors by which an offset must differ from window to window to be called a slip."""
LEAST_SLIP = 0.5
"""Frames by which it must, as well."""


def score_synchrony(scene: Scene) -> Score:
    """Share of pairs of views that motion along epipolar lines shows to be simultaneous within half a frame.

    A pair without a distinct best shift, or that nothing connects with the reference, counts as not simultaneous: views
    that share no motion are no views of one scene. The floor is the share among pairs of which one view plays
    backwards, so that its motion is as lively but unrelated. The ceiling is the share of pairs that are determined at
    any shift: theirs is all the motion there is.

    Args:
        scene: views whose cameras' clocks should agree exactly; true offsets are not looked at.

    Returns:
        The score; ``details`` hold how many frames two views are apart (median and largest), each view's offset with
        its standard error in frames (null where undetermined, with the reason), the same in windows of time, views
        whose offset slips from window to window, and every pair.
    """
    small = scene.resized(WORKING_SIDE)
    small.frame_cache.prepare(small.cameras)
    label, unit = "synchrony", f"share of pairs simultaneous within {IN_STEP:g} frame"
    try:
        result = from_motion(small, None)  # their sound says nothing of what they show
    except UserError as error:
        return Score(label, unit, None, reason=str(error).removeprefix(f"{scene.root}: "))
    windows = windowed_offsets(small)
    interval = scene.frame_interval
    floor, floor_significance = _backwards(small)
    significances = [pair.significance for pair in result.pairs]
    offsets = _offsets(result, interval)
    told = [entry["frames"] for entry in offsets.values() if entry["frames"] is not None]
    apart = [abs(one - other) for one, other in combinations(told, 2)]
    details = {
        "median_frames": statistics.median(apart) if apart else None,
        "largest_frames": max(apart, default=None),
        "significance": known(statistics.median(significances)),
        "floor_significance": floor_significance,
        "offsets": offsets,
        "windows": windows,
        "slips": slips(windows),
        "pairs": [_pair(result, index, interval) for index in range(len(result.pairs))],
    }
    return Score(label, unit, _in_step(result, interval), floor, _determined(result), "", details)


def windowed_offsets(scene: Scene) -> list[dict[str, Any]]:
    """Offsets in windows of time that overlap by half, each found as if it were the whole video.

    Args:
        scene: frames as small as synchronisation needs them.

    Returns:
        For each window ``from`` and ``to`` in seconds on the cameras' own clocks, and ``offsets`` by name, in frames
        with standard errors; None for a view that the window does not determine.
    """
    times = [camera.frame_times.numpy() for camera in scene.cameras]
    begin, end = max(own[0] for own in times), min(own[-1] for own in times)
    shortest = LEAST_WINDOW * scene.frame_interval
    count = min(MOST_WINDOWS, int(2 * (end - begin + scene.frame_interval) / shortest + 1e-6) - 1)
    if count < 2:
        return []
    length = 2 * (end - begin) / (count + 1)
    found = []
    for start in begin + 0.5 * length * np.arange(count):
        edges = [np.searchsorted(own, (start - 1e-6, start + length + 1e-6)) for own in times]
        part = picked(scene, [slice(int(first), int(last)) for first, last in edges])
        try:
            offsets = _offsets(from_motion(part, None), scene.frame_interval)
        except UserError as error:
            missing = {"frames": None, "stderr": None, "reason": str(error).removeprefix(f"{scene.root}: ")}
            offsets = dict.fromkeys(scene.names, missing)
        found.append({"from": float(start), "to": float(start + length), "offsets": offsets})
    return found


def slips(windows: list[dict[str, Any]]) -> dict[str, float]:
    """Views whose offset is not the same in all windows: by how many frames it changes, by name.

    Half a frame and four standard errors of the difference, at least, and only between windows that determine it.
    """
    found: dict[str, float] = {}
    for name in windows[0]["offsets"] if windows else ():
        entries = [window["offsets"][name] for window in windows]
        entries = [entry for entry in entries if entry["frames"] is not None and entry["stderr"] is not None]
        if len(entries) < 2:
            continue
        low, high = (chosen(entries, key=lambda entry: entry["frames"]) for chosen in (min, max))
        change = high["frames"] - low["frames"]
        if change > max(LEAST_SLIP, SLIP_ERRORS * float(np.hypot(low["stderr"], high["stderr"]))):
            found[name] = change
    return found


def _backwards(scene: Scene) -> tuple[float, float | None]:
    """Share in step, and median significance, of pairs of which one view plays backwards."""
    reverse = [slice(None, None, -1 if index % 2 else 1) for index in range(len(scene.cameras))]
    result = from_motion(picked(scene, reverse), None)
    mixed = [pair for pair in result.pairs if (pair.first + pair.second) % 2]
    near = [pair for pair in mixed if pair.used and abs(pair.lag) <= IN_STEP * scene.frame_interval]
    return len(near) / len(mixed), known(statistics.median(pair.significance for pair in mixed))


def _in_step(result: SyncResult, interval: float) -> float:
    near = [pair for pair in result.pairs if _certain(pair) and abs(pair.lag) <= IN_STEP * interval]
    return len(near) / len(result.pairs)


def _determined(result: SyncResult) -> float:
    return sum(_certain(pair) for pair in result.pairs) / len(result.pairs)


def _certain(pair: PairLag) -> bool:
    """Whether the pair itself is determined, whatever other pairs say of the same cameras."""
    return pair.used or pair.contradicts


def _offsets(result: SyncResult, interval: float) -> dict[str, dict[str, Any]]:
    """Each view's offset against the reference and its standard error, in frames, by name."""
    entries = {}
    for index, name in enumerate(result.names):
        offset, stderr = float(result.offsets[index]) / interval, float(result.stderr[index]) / interval
        entries[name] = {"frames": known(offset), "stderr": known(stderr)}
        check = result.checks[name]
        notes = {"verdict": check.verdict, "reason": check.reason, "warning": result.warnings.get(name)}
        entries[name] |= {key: text for key, text in notes.items() if text}
    return entries


def _pair(result: SyncResult, index: int, interval: float) -> dict[str, Any]:
    pair = result.pairs[index]
    record = {"first": result.names[pair.first], "second": result.names[pair.second]}
    record |= {"frames": known(pair.lag / interval), "significance": known(pair.significance)}
    return record | ({"reason": pair.reason} if pair.reason else {})
