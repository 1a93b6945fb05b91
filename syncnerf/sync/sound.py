"""Lags between cameras from their sound: coarse, but global and without ambiguity.

Generalised cross-correlation with phase transform (Knapp and Carter 1976): only the spectrum's phase counts, so that
echoes and the microphones' colour do not move the peak.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from syncnerf.scene import Scene
from syncnerf.scene.video import VideoSource
from syncnerf.sync.prior import PriorLag
from syncnerf.sync.soundtrack import ENVELOPE_RATE, RATE, Soundtrack, soundtrack

SPEED_OF_SOUND = 343.0
"""Metres per second in air at 20 degrees."""
OWN_LAG = 0.010
"""Seconds by which a camera's sound lies off its pictures, constant per model and not known."""
BAND = (100.0, 7000.0)
"""Hertz that are compared."""
SHORT = 120.0
"""Recordings up to so many seconds are compared whole, longer ones in windows."""
WINDOW, WINDOWS = 6.0, 24
"""Seconds and largest number of the windows in which a lag is measured; within one, a clock's rate hardly shows."""
REACH = 0.5
"""Seconds around the coarse lag that a window is searched in: the envelope's error and an hour's drift."""
LEAST_SIGNIFICANCE = 9.0
"""Smallest height of an accepted peak, in robust deviations: noise of a million shifts reaches 5."""
LARGEST_RIVAL = 0.8
"""Largest height of another peak, as a share of the accepted one."""
APART = 0.03
"""Seconds from a peak at which another is another."""
AGREEING = 0.005
"""Seconds within which windows agree with the line through them."""
LEAST_SPAN = 60.0
"""Seconds that the windows must span for a clock's rate."""


def sound_lags(scene: Scene, max_offset: float | None = None) -> list[PriorLag]:
    """Lags of all pairs of cameras whose sound agrees.

    Their standard errors are the cameras' distance over the speed of sound, and the cameras' own lag.

    Args:
        scene: with places in metres; cameras that are no videos, or have no sound, are passed over.
        max_offset: largest lag that is considered, seconds; None for any.
    """
    tracks: dict[int, Soundtrack] = {}
    # Whatever stands in for a cache of files need not have any.
    sources = getattr(scene.frame_cache, "sources", {})
    for index, name in enumerate(scene.names):
        source = sources.get(name)
        track = soundtrack(source.path, source.chapters) if isinstance(source, VideoSource) else None
        if track is not None:
            tracks[index] = track
    envelopes = {index: track.envelope() for index, track in tracks.items() if track.duration > SHORT}
    lags = []
    for first, second in itertools.combinations(tracks, 2):
        found = compare_tracks(tracks[first], tracks[second], [envelopes.get(k) for k in (first, second)], max_offset)
        if found is not None:
            lag, rate = found
            # Soundtracks begin with the first frame at 0; a camera's clock may begin elsewhere.
            begins = [float(scene.cameras[index].frame_times[0]) for index in (first, second)]
            lag -= begins[0] - begins[1]
            places = [scene.cameras[index].pose(0)[:3, 3] for index in (first, second)]
            deviation = math.hypot(float((places[0] - places[1]).norm()) / SPEED_OF_SOUND, OWN_LAG)
            lags.append(PriorLag(first, second, lag, deviation, rate))
    return lags


def compare_tracks(
    one: Soundtrack,
    two: Soundtrack,
    envelopes: Sequence[tuple[float, Float[np.ndarray, " _"]] | None] = (None, None),
    max_offset: float | None = None,
) -> tuple[float, float | None] | None:
    """Lag (offset of the first minus the second's, seconds) and difference of rates; None where they do not agree.

    Args:
        one: the first camera's sound.
        two: the second's.
        envelopes: of both, where they are long (see :meth:`Soundtrack.envelope`); computed where missing and needed.
        max_offset: largest lag that is considered, seconds.
    """
    most = math.inf if max_offset is None else max_offset
    if max(one.duration, two.duration) <= SHORT:
        signals = [track.samples(track.begin, track.duration) for track in (one, two)]
        found = peak_of(*phase_correlation(*signals, RATE), -(two.begin - one.begin), most)
        return None if found is None else (two.begin - one.begin + found, None)
    (begin_one, first), (begin_two, second) = (
        track.envelope() if given is None else given for track, given in zip((one, two), envelopes, strict=True)
    )
    found = peak_of(*phase_correlation(first, second, ENVELOPE_RATE, band=None), begin_one - begin_two, most)
    if found is None:
        return None
    return _by_windows(one, two, begin_two - begin_one + found)


def _by_windows(one: Soundtrack, two: Soundtrack, coarse: float) -> tuple[float, float | None] | None:
    """The line through the lags of windows spread over the common time, by their median slopes (Theil and Sen)."""
    begin = max(one.begin, two.begin - coarse)
    end = min(one.begin + one.duration, two.begin + two.duration - coarse) - WINDOW
    if end <= begin:
        return None
    times, lags = [], []
    for start in np.linspace(begin, end, min(WINDOWS, 1 + int((end - begin) // WINDOW))):
        signals = one.samples(start, WINDOW), two.samples(start + coarse, WINDOW)
        found = peak_of(*phase_correlation(*signals, RATE), 0.0, REACH)
        if found is not None:
            times.append(start + 0.5 * WINDOW)
            lags.append(coarse + found)
    if not times:
        return None
    places, values = np.array(times), np.array(lags)
    slope = None
    if np.ptp(places) >= LEAST_SPAN and len(places) >= 4:
        slopes = [
            (values[j] - values[i]) / (places[j] - places[i]) for i, j in itertools.combinations(range(len(places)), 2)
        ]
        slope = float(np.median(slopes))
    line = values - (slope or 0.0) * places
    lag = float(np.median(line))
    # Without a slope, a clock's rate within a minute is far below what counts here.
    agreeing = np.abs(line - lag) < AGREEING
    return (lag, slope) if agreeing.sum() > 0.5 * len(agreeing) else None


def phase_correlation(
    one: Float[np.ndarray, " N"], two: Float[np.ndarray, " M"], rate: float, band: tuple[float, float] | None = BAND
) -> tuple[Float[np.ndarray, " shifts"], Float[np.ndarray, " shifts"]]:
    """Phase-whitened cross-correlation of two signals.

    Args:
        one: samples, shape [N].
        two: samples, shape [M].
        rate: samples per second.
        band: frequencies in Hertz that count; None for a plain correlation of signals without mean, in no unit.

    Returns:
        Shifts in seconds by which what is in ``one`` appears later in ``two``, ascending, and the correlation, [N+M-1].
    """
    size = 1 << (len(one) + len(two) - 1).bit_length()
    spectra = [np.fft.rfft(signal - signal.mean(), size) for signal in (one, two)]
    cross = np.conj(spectra[0]) * spectra[1]
    if band is not None:
        magnitude = np.abs(cross)
        frequencies = np.fft.rfftfreq(size, 1 / rate)
        inside = (frequencies >= band[0]) & (frequencies <= band[1])
        # Where there is next to nothing, its phase is that of rounding.
        floor = 1e-6 * magnitude[inside].max() if inside.any() else 0.0
        cross = np.where(inside, cross / np.maximum(magnitude, floor + 1e-30), 0)
    values = np.fft.irfft(cross, size)
    values = np.concatenate([values[size - len(one) + 1 :], values[: len(two)]])
    return np.arange(1 - len(one), len(two)) / rate, values


def peak_of(
    shifts: Float[np.ndarray, " shifts"], values: Float[np.ndarray, " shifts"], centre: float, most: float
) -> float | None:
    """The place of the highest value within ``most`` of ``centre``, by a parabola; None where it does not stand out."""
    near = np.abs(shifts - centre) <= most
    shifts, values = shifts[near], values[near]
    if len(values) < 3:
        return None
    best = int(values.argmax())
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    height = values[best] - middle
    others = values[np.abs(shifts - shifts[best]) > APART]
    if not height > LEAST_SIGNIFICANCE * spread or not len(others) or others.max() - middle > LARGEST_RIVAL * height:
        return None
    if not 0 < best < len(values) - 1:
        return float(shifts[best])
    before, at, after = values[best - 1 : best + 2]
    bend = before - 2 * at + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(shifts[best] + shift * (shifts[1] - shifts[0]))
