"""Time queries: a unit vector per moment; its inner products with a point's vectors give density and colour then."""

import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from syncnerf_mixvoxels.pair_products import Pairs, fits_kernel, pair_products


class TimeWaves(nn.Module):
    """A query that is linear in sines and cosines of the corrected time.

    Sync-NeRF's MixVoxels (section 4.2) puts a network behind sines and cosines whose frequencies double. Trained, that
    answers with vectors of some fifteen dimensions, however wide they are, and of the paths that points take through
    time few can be told apart. All multiples of the lowest frequency, and nothing behind them, fill all dimensions.

    Args:
        waves: frequencies pi, 2 pi, 3 pi, ... per video.
        width: of the query.
    """

    def __init__(self, waves: int, width: int):
        super().__init__()
        self.linear = nn.Linear(2 * waves + 1, width, bias=False)
        # At first moments are as different as the waves can make them.
        nn.init.orthogonal_(self.linear.weight)
        self.register_buffer("frequencies", math.pi * torch.arange(1, waves + 1, dtype=torch.float64), persistent=False)
        self.sharpness = float(waves)

    def set_sharpness(self, waves: float) -> None:
        """Let only so many waves through, the last one in part (BARF, Lin et al., ICCV 2021, equation 14).

        Few at first and more later, time is learned coarse to fine: offsets far from the truth still feel a slope.
        """
        self.sharpness = waves

    def forward(self, times: Float64[Tensor, "*T"]) -> Float[Tensor, "*T width"]:
        """Queries of unit length, float32, shape [..., width], of times in [0, 1] over the video, float64 [...].

        Times outside are answered as well: the waves go on beyond both ends.
        """
        phases = times[..., None] * self.frequencies
        passed = (self.sharpness - torch.arange(len(self.frequencies), device=times.device)).clamp(0.0, 1.0)
        passed = 0.5 - 0.5 * torch.cos(math.pi * passed)
        constant = torch.ones_like(times)[..., None]
        waves = torch.cat([constant, passed * phases.sin(), passed * phases.cos()], dim=-1)
        return nn.functional.normalize(self.linear(waves.float()), dim=-1)


class TimeLatents(nn.Module):
    """The query of the unsynchronised original (MixVoxels, section 3.3): a learned vector for each frame.

    Between frames the two nearest vectors are mixed, outside the video the first or last one stays.

    Args:
        frame_count: number of frames.
        width: of the query.
    """

    def __init__(self, frame_count: int, width: int):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(max(frame_count, 2), width))

    def set_sharpness(self, waves: float) -> None:
        """Nothing to sharpen: every frame has a vector of its own."""

    def forward(self, times: Float64[Tensor, "*T"]) -> Float[Tensor, "*T width"]:
        """Queries of unit length, float32, shape [..., width], of times in [0, 1] over the video, float64 [...]."""
        last = len(self.latents) - 1
        place = (times * last).clamp(0.0, float(last))
        lower = place.detach().long().clamp(max=last - 1)
        fraction = (place - lower).float()[..., None]
        shape = (*times.shape, -1)
        before = self.latents.index_select(0, lower.reshape(-1)).reshape(shape)
        after = self.latents.index_select(0, lower.reshape(-1) + 1).reshape(shape)
        return nn.functional.normalize(torch.lerp(before, after, fraction), dim=-1)


class TimeSeries:
    """Queries of a batch of rays at T moments each, computed once for all rays that share their moments.

    Rays of one static camera share them. The gradient of a series arrives as its mean over the rays that share it: the
    sum over them, which is the gradient of their camera's offset, is exact. Single moments (T = 1) are not shared where
    gradients are asked for, so that each ray's own derivative is exact there.

    Args:
        query: the head.
        times: moments in [0, 1] over the video, float64, shape [N, T].
    """

    def __init__(self, query: TimeWaves | TimeLatents, times: Float64[Tensor, "*T"]):
        self.length = times.shape[1]
        if self.length == 1 and times.requires_grad:
            self.row_of_ray = torch.arange(len(times), device=times.device)
            rows = times
        else:
            shared, self.row_of_ray = rows_as_met(times.detach())
            count = torch.bincount(self.row_of_ray, minlength=len(shared))[:, None]
            # The mean of equal moments is that moment, and passes the gradient on; its rounding is taken away.
            mean = torch.zeros_like(shared).index_add(0, self.row_of_ray, times) / count
            rows = mean + (shared - mean.detach())
        self.queries = query(rows)

    def products(self, vectors: Float[Tensor, "M C width"], rays: Int64[Tensor, " M"]) -> Float[Tensor, "M C T"]:
        """Inner products of points' vectors with the queries of their rays.

        Args:
            vectors: C vectors for each of M points, shape [M, C, width].
            rays: each point's ray, int64, shape [M].

        Returns:
            Shape [M, C, T].
        """
        rows = self.row_of_ray.index_select(0, rays)
        if self.length == 1:
            return (vectors * self.queries.index_select(0, rows)).sum(dim=-1, keepdim=True)
        # Rays camera by camera, as batches have them, are in order already.
        sorted_already = bool((rows[1:] >= rows[:-1]).all())
        order = None if sorted_already else rows.argsort(stable=True)
        counts = torch.bincount(rows, minlength=len(self.queries)).tolist()
        in_order = vectors if order is None else vectors.index_select(0, order)
        parts = [part @ query.T for part, query in zip(in_order.split(counts), self.queries, strict=True) if len(part)]
        if not parts:
            return vectors.new_zeros(0, vectors.shape[1], self.length)
        if order is None:
            return torch.cat(parts)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        return torch.cat(parts).index_select(0, back)

    def at(self, vectors: Float[Tensor, "M C width"], rays: Int64[Tensor, " M"], pairs: Pairs) -> Float[Tensor, "P C"]:
        """The same inner products [P, C] for chosen pairs of a point and a moment alone."""
        queries = self.queries.reshape(-1, self.queries.shape[-1])
        if not fits_kernel(vectors, queries):
            return self.products(vectors, rays).transpose(1, 2)[pairs.points, pairs.moments]
        rows = self.row_of_ray.index_select(0, rays)
        return pair_products(vectors, queries, pairs.points, pairs.flat(rows))


def rows_as_met(values: Float64[Tensor, "N T"]) -> tuple[Float64[Tensor, "R T"], Int64[Tensor, " N"]]:
    """Different rows of values [N, T] in the order in which they first come, and which of them each row is [N]."""
    shared, row_of = torch.unique(values, dim=0, return_inverse=True)
    numbers = torch.arange(len(values), device=values.device)
    first = numbers.new_full((len(shared),), len(values)).scatter_reduce(0, row_of, numbers, "amin")
    order = first.argsort()
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return shared[order], place[row_of]


def look_moments(count: int, generator: torch.Generator) -> Float64[Tensor, " T"]:
    """Moments [T] in [0, 1], float64, one at random in each of equal parts.

    What is there only between two moments of one look, as a thrown ball is, is seen by another.
    """
    jitter = torch.rand(count, generator=generator, dtype=torch.float64, device=generator.device)
    return (torch.arange(count, device=jitter.device) + jitter) / count
