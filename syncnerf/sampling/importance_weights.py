"""The weights of ISG and IST (DyNeRF, Li et al., CVPR 2022): a C kernel and its numpy twin."""

import ctypes
import functools
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt32

from syncnerf.native import address, compile_native

SOURCE = Path(__file__).with_name("importance.c")
SEGMENT = 256
"""Weights are summed over so many neighbours, so that a draw looks at one segment only; the kernel's, too."""


def isg_weights(frames: UInt8[np.ndarray, "T N 3"], gamma: float) -> UInt8[np.ndarray, "T N"]:
    """Importance by the global median, in 1/255, uint8, shape [T, N], of uint8 colours [T, N, 3].

    The median of an even number of frames is the lower of the middle two, so that it is a colour that occurs.
    """
    distance = np.arange(256, dtype=np.float64) / 255.0
    # In 1/256 of the result's unit, so that the sum of three channels just fits 16 bits.
    channel = np.rint(255.0 * 256.0 / 3.0 * distance**2 / (distance**2 + gamma**2)).astype(np.uint16)
    weights = ((np.arange(2**16) + 128) >> 8).clip(max=255).astype(np.uint8)
    found = _native_weights(frames, -1, channel, weights)
    if found is not None:
        return found
    median = lower_median(frames)
    return weights[channel[np.maximum(frames, median) - np.minimum(frames, median)].sum(axis=-1, dtype=np.uint16)]


def ist_weights(frames: UInt8[np.ndarray, "T N 3"], shift: int, floor: float) -> UInt8[np.ndarray, "T N"]:
    """Importance by temporal difference, in 1/255, uint8, shape [T, N], of uint8 colours [T, N, 3].

    The largest difference from any frame in reach is the larger of those from the window's extremes.
    """
    mean = np.arange(3 * 255 + 1) / 3.0
    weights = np.rint(np.maximum(mean, 255.0 * floor)).astype(np.uint8)
    found = _native_weights(frames, shift, np.arange(256, dtype=np.uint16), weights)
    if found is not None:
        return found
    highest, lowest = window_extreme(frames, shift, np.maximum), window_extreme(frames, shift, np.minimum)
    return weights[np.maximum(highest - frames, frames - lowest).sum(axis=-1, dtype=np.uint16)]


def segment_sums(segments: UInt8[np.ndarray, "S segment"]) -> UInt32[np.ndarray, " S"]:
    """Sums over segments of weights, uint32, shape [S], of uint8 weights [S, SEGMENT]."""
    library = importance_library()
    if library is None:
        return segments.sum(axis=1, dtype=np.uint32)
    if segments.ndim != 2 or segments.shape[1] != SEGMENT or segments.dtype != np.uint8:
        raise ValueError(f"segments of {segments.dtype} {segments.shape}: should be uint8 [S, {SEGMENT}]")
    segments = np.ascontiguousarray(segments)
    sums = np.empty(len(segments), dtype=np.uint32)
    library.segment_sums(address(segments), ctypes.c_int64(len(segments)), address(sums))
    return sums


def lower_median(values: UInt8[np.ndarray, " T *rest"]) -> UInt8[np.ndarray, "*rest"]:
    """Lower median of uint8 values over the first axis, found bit by bit without sorting."""
    rank = (len(values) - 1) // 2
    median = np.zeros(values.shape[1:], dtype=np.uint8)
    for bit in reversed(range(8)):
        candidate = median | np.uint8(1 << bit)
        below = np.zeros(values.shape[1:], dtype=np.uint16 if len(values) < 2**16 else np.uint32)
        for frame in values:
            below += frame < candidate
        median = np.where(below <= rank, candidate, median)
    return median


def window_extreme(
    values: UInt8[np.ndarray, " T *rest"], reach: int, extreme: np.ufunc
) -> UInt8[np.ndarray, " T *rest"]:
    """Maximum or minimum over the frames at most ``reach`` away along the first axis; windows end with the video."""
    return extreme(_extreme_ahead(values, reach, extreme), _extreme_ahead(values[::-1], reach, extreme)[::-1])


def _extreme_ahead(values: np.ndarray, reach: int, extreme: np.ufunc) -> np.ndarray:
    """Extreme over the frames t .. t + reach; two windows of n give one of 2n, so about log2(reach) passes suffice."""
    result, size = values.copy(), 1
    while size < min(reach + 1, len(values)):
        step = min(size, reach + 1 - size)
        kept = len(values) - step
        # The right half must be the old one: numpy copies where input and output overlap.
        result[:kept] = extreme(result[:kept], result[step:])
        size += step
    return result


def _native_weights(frames: np.ndarray, reach: int, channel: np.ndarray, table: np.ndarray) -> np.ndarray | None:
    """The kernel's weights (IST within ``reach`` frames, or ISG where it is negative); None where there is no kernel.

    A pixel's weight is ``table[sum of channel[distance]]`` over its three channels.
    """
    if frames.ndim != 3 or frames.shape[2] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames of {frames.dtype} {frames.shape}: should be uint8 [T, N, 3]")
    library = importance_library()
    if library is None or 0 in frames.shape:
        return None
    if frames.strides[1:] != (3, 1):
        frames = np.ascontiguousarray(frames)
    weights = np.empty(frames.shape[:2], dtype=np.uint8)
    failed = library.band_weights(
        address(frames), ctypes.c_int64(len(frames)), ctypes.c_int64(frames.strides[0]),
        ctypes.c_int64(3 * frames.shape[1]), ctypes.c_int64(reach), address(channel), address(table), address(weights),
    )  # fmt: skip
    return None if failed else weights


@functools.cache
def importance_library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be had."""
    return compile_native(SOURCE)
