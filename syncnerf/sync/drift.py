"""Clocks that run at slightly different rates: lags in windows of time, and a rate per camera fitted to them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from syncnerf.sync.landscape import refine
from syncnerf.sync.solve import Lags, connected, inner_inverse, offset_design, robust_fit

MOST_WINDOWS = 8
"""Windows that a video is cut into."""
LEAST_WINDOW = 30
"""Samples that a window holds at least."""
REACH = 8
"""Samples on either side of the whole video's lag in which a window's lag is sought."""


@dataclass(frozen=True)
class WindowLags:
    """A pair's lags in windows of time.

    Attributes:
        times: middle of each window on the first camera's clock, seconds, float64, shape [W].
        lags: when the second camera's clock shows what the first's shows then, minus that; seconds, float64, shape [W].
        deviations: standard errors up to a common factor, seconds, float64, shape [W].
    """

    times: Tensor
    lags: Tensor
    deviations: Tensor


def window_lags(first: Tensor, second: Tensor, lag: float, interval: float) -> WindowLags:
    """Lags of two signal matrices in windows of time.

    Args:
        first: signals, shape [L, T1].
        second: signals, shape [L, T2].
        lag: of the whole videos, seconds.
        interval: seconds per sample.

    Returns:
        Of those windows in which both signals move and the peak is not at the edge of the search.
    """
    whole, length = round(lag / interval), first.shape[1]
    count = min(MOST_WINDOWS, length // LEAST_WINDOW)
    times, lags, deviations = [], [], []
    for begin, end in zip(*_edges(length, count), strict=True):
        reach = slice(begin + whole - REACH, end + whole + REACH)
        inside = slice(max(0, reach.start), max(0, min(reach.stop, second.shape[1])))
        if inside.stop - inside.start < (end - begin) // 2 + 2 * REACH:
            continue
        near = pad(second[:, inside], (inside.start - reach.start, reach.stop - inside.stop))
        shifted = near.unfold(1, end - begin, 1)
        part = first[:, begin:end]
        products = torch.einsum("lt,lst->s", part, shifted).double()
        power = part.square().sum().double() * shifted.square().sum((0, 2)).double()
        values = products / power.sqrt().clamp_min(1e-9)
        best = int(values.argmax())
        if not 2 <= best <= 2 * REACH - 2:
            continue
        place, height, bend = refine(values, best)
        height = min(max(height, 1e-3), 0.999)
        variance = (1 - height**2) / (height * max(bend, 1e-9)) / (end - begin)
        times.append(0.5 * (begin + end) * interval)
        lags.append((whole + place - REACH) * interval)
        deviations.append(variance**0.5 * interval)
    return WindowLags(*(torch.tensor(values, dtype=torch.float64) for values in (times, lags, deviations)))


def _edges(length: int, count: int) -> tuple[list[int], list[int]]:
    edges = [round(k * length / max(count, 1)) for k in range(count + 1)]
    return edges[:-1], edges[1:]


@dataclass(frozen=True)
class Clocks:
    """Each camera's clock: scene time is ``own time * (1 + rate) + offset``.

    Attributes:
        known: which cameras are determined, bool, shape [C].
        offsets: seconds, NaN where not determined, float64, shape [C].
        offsets_stderr: in the free gauge, likewise.
        rates: against the reference's clock, no unit (1e-6: one part per million), likewise.
        rates_stderr: in the free gauge, likewise.
    """

    known: Tensor
    offsets: Tensor
    offsets_stderr: Tensor
    rates: Tensor
    rates_stderr: Tensor


def fit_clocks(pairs: list[tuple[int, int, WindowLags]], offsets: Tensor, reference: int) -> Clocks | None:
    """Offsets and rates from all pairs' window lags, robustly.

    At time u of camera i's clock and v = u + lag of camera j's, both see the same: ``lag = offset_i - offset_j +
    rate_i u - rate_j v`` to first order. The standard errors are cluster-robust: errors within a window of scene time
    may be alike in all pairs.

    Args:
        pairs: camera indices and window lags.
        offsets: without drift, seconds, float64, shape [C]; NaN cameras stay out.
        reference: global index of the camera whose offset and rate are zero.

    Returns:
        None where the windows do not determine any rate.
    """
    measured = [
        (i, j, *values)
        for i, j, windows in pairs
        for values in zip(windows.times.tolist(), windows.lags.tolist(), windows.deviations.tolist(), strict=True)
    ]
    count = len(offsets)
    if not measured:
        return None
    table = torch.tensor(measured, dtype=torch.float64)
    lags, times = Lags(table[:, 0].long(), table[:, 1].long(), table[:, 3], table[:, 4]), table[:, 2]
    known = connected(lags.first, lags.second, count, reference)
    inside = known[lags.first]
    lags, times = lags.keep(inside), times[inside]
    span = float(times.max() - times.min())
    if span <= 0 or int(known.sum()) < 2:
        return None
    # Rates enter as seconds over the whole span, so that all unknowns have one unit.
    start = offsets[known].nan_to_num(0.0)
    plain = offset_design(lags, count)[:, known]
    drifting = plain.clamp_min(0) * times[:, None] + plain.clamp_max(0) * (times + lags.values)[:, None]
    design = torch.cat([plain, drifting / span], dim=1)
    ones, zeros = torch.ones_like(start), torch.zeros_like(start)
    gauge = torch.stack([torch.cat([ones, zeros]), torch.cat([start, span * ones])])
    fit = robust_fit(design, lags.values, lags.deviations, gauge, torch.cat([start, zeros]))
    scene_times = times + offsets[lags.first]
    length = float(scene_times.max() - scene_times.min()) / MOST_WINDOWS
    clusters = ((scene_times - scene_times.min()) / max(length, 1e-9)).long()
    covariance = _clustered(
        design / lags.deviations[:, None], fit.residuals / lags.deviations, fit.used, clusters, gauge
    )
    errors = torch.maximum(covariance.diagonal(), 0.25 * fit.covariance.diagonal()).sqrt()
    return _referred(fit.unknowns, errors, span, known, int(known[:reference].sum()))


def _clustered(rows: Tensor, residuals: Tensor, used: Tensor, clusters: Tensor, gauge: Tensor) -> Tensor:
    """Cluster-robust (sandwich) covariance of a least-squares solution, shape [U, U]."""
    rows, residuals, clusters = rows[used], residuals[used], clusters[used]
    count = len(clusters.unique())
    scores = torch.zeros(int(clusters.max()) + 1, rows.shape[1], dtype=torch.float64)
    scores.index_add_(0, clusters, rows * residuals[:, None])
    bread = inner_inverse(rows.T @ rows, gauge)
    return bread @ (scores.T @ scores) @ bread * (count / max(count - 2, 1))


def _referred(unknowns: Tensor, errors: Tensor, span: float, known: Tensor, reference: int) -> Clocks:
    """Offsets and rates against the reference's clock, for all cameras."""
    count = int(known.sum())
    offsets, rates = unknowns[:count], unknowns[count:] / span
    scale = 1 + rates[reference]
    offsets, rates = (offsets - offsets[reference]) / scale, (rates - rates[reference]) / scale
    columns = []
    for values in (offsets, errors[:count], rates, errors[count:] / span):
        column = torch.full((len(known),), torch.nan, dtype=torch.float64)
        column[known] = values
        columns.append(column)
    return Clocks(known, *columns)
