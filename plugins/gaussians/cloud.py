"""The Gaussians that are learned: a fixed number of them, each resting or carried by nodes of a scaffold."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from syncnerf.encodings.spherical_harmonics import CONSTANT
from syncnerf_gaussians import splines
from syncnerf_gaussians.density import shared
from syncnerf_gaussians.gaussians import Gaussians, Motion, Skinning
from syncnerf_gaussians.lives import Lives
from syncnerf_gaussians.scaffold import CARRIERS, Scaffold

RESTING = -1
"""In the place of a node: a Gaussian that no node carries."""


class Cloud(nn.Module):
    """N Gaussians, whose colours may change slowly with time.

    Args:
        count: N.
        moments: moments of reference J; the mean of a Gaussian is its centre at one of them.
        degree: of the spherical harmonics of its colours.
        shades: knots of a spline through time that is added to its colours, alike from all sides; 0 for none.
        lives: of those that no node carries and that do not rest.
        carried: whether there is a scaffold.
    """

    def __init__(self, count: int, moments: int, degree: int, shades: int, lives: Lives, carried: bool = True):
        super().__init__()
        self.lives = lives
        self.means = nn.Parameter(torch.zeros(count, 3))
        self.quaternions = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1))
        self.log_scales = nn.Parameter(torch.zeros(count, 3))
        self.opacity_logits = nn.Parameter(torch.zeros(count))
        self.colours = nn.Parameter(torch.zeros(count, 1, 3))
        self.sides = nn.Parameter(torch.zeros(count, (degree + 1) ** 2 - 1, 3))
        self.shades = nn.Parameter(torch.zeros(shades, count, 1, 3)) if shades else None
        self.skin = nn.Parameter(torch.zeros(count, CARRIERS)) if carried else None
        self.register_buffer("nodes", torch.full((count, CARRIERS), RESTING, dtype=torch.int32))
        self.register_buffer("moments", torch.zeros(count, dtype=torch.int32))
        self.register_buffer("rest_times", torch.linspace(-1.0, 1.0, moments, dtype=torch.float64))

    def __len__(self) -> int:
        return len(self.means)

    @property
    def rests(self) -> Bool[Tensor, " N"]:
        """Which of them stand still, bool, shape [N]."""
        return (self.nodes[:, 0] == RESTING) & ~self.lives.flies

    def at(
        self, times: Float64[Tensor, " V"], scaffold: Scaffold | None, with_rates: bool = False
    ) -> tuple[Gaussians, Motion]:
        """What is drawn at times (float64, shape [V]), which gradients reach; shades are those of the mean time."""
        harmonics = torch.cat([self.colours, self.sides], dim=1)
        if self.shades is not None:
            shade = splines.evaluate(self.shades, times.mean()[None])[0]
            harmonics = torch.cat([self.colours + shade, self.sides], dim=1)
        gaussians = Gaussians(self.means, self.quaternions, self.log_scales, self.opacity_logits, harmonics)
        skinning = None if scaffold is None else self.skinning(times, scaffold, with_rates)
        drift = self.lives.drift() if bool(self.lives.flies.any()) else None
        return gaussians, Motion(times, skinning, drift)

    def skinning(self, times: Float64[Tensor, " V"], scaffold: Scaffold, with_rates: bool) -> Skinning:
        """How the nodes carry the Gaussians to times."""
        # Evaluated together: of a small picture the paths take as long as the Gaussians.
        poses, rests = scaffold.poses(torch.cat([self.rest_times, times])), len(self.rest_times)
        rates = scaffold.slopes(times) if with_rates else None
        # Along columns: torch is five times slower along rows of four.
        weights = torch.softmax(self.skin.T, dim=0).T
        return Skinning(self.nodes, weights, self.moments, poses[:rests], poses[rests:], rates)

    # -- placing -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def put(
        self,
        places: Float[Tensor, "N 3"],
        colours: Float[Tensor, "N 3"],
        times: Float64[Tensor, " N"],
        sizes: Float[Tensor, " N"],
        opacity: float,
        velocities: Float[Tensor, "N 3"],
    ) -> None:
        """Put a Gaussian on each of N points, at the moments of reference that are nearest to their times.

        Args:
            places: shape [N, 3].
            colours: in [0, 1], shape [N, 3].
            times: float64, shape [N]; NaN for what rests.
            sizes: standard deviations, shape [N].
            opacity: of all of them.
            velocities: of those that fly, shape [N, 3]; NaN for the rest.
        """
        self.means.copy_(places)
        self.colours.copy_(((colours - 0.5) / CONSTANT)[:, None])
        self.log_scales.copy_(sizes.log()[:, None])
        self.opacity_logits.fill_(opacity).logit_()
        self.moments.copy_((times.nan_to_num(0.0)[:, None] - self.rest_times).abs().argmin(dim=1))
        self.lives.put(times, velocities)
        carried = times.isfinite() & ~self.lives.flies
        self.nodes.copy_(torch.where(carried, 0, RESTING)[:, None].expand_as(self.nodes))

    @torch.no_grad()
    def bind(self, scaffold: Scaffold, which: Int64[Tensor, " K"]) -> None:
        """Choose anew which nodes carry some of the Gaussians (numbers [K]), by their distances over time."""
        which = which[self.nodes[which, 0] != RESTING]
        times = self.rest_times[self.moments[which].long()]
        nodes, distances = scaffold.carriers(self.means[which], times)
        self.nodes[which] = nodes.int()
        self.skin[which] = -0.5 * (distances / scaffold.spacing).square()

    @torch.no_grad()
    def relocate(self, moving: Int64[Tensor, " K"], joined: Int64[Tensor, " K"]) -> None:
        """Move Gaussians onto others, which become so much smaller and fainter that the picture stays as it is.

        Args:
            moving: numbers of those that move, int64, shape [K].
            joined: numbers of those that they join, shape [K].
        """
        if not len(moving):
            return
        copies = 1 + joined.bincount(minlength=len(self))
        parents = joined.unique()
        opacities, factors = shared(torch.sigmoid(self.opacity_logits[parents]), copies[parents])
        self.opacity_logits[parents] = torch.logit(opacities.clamp(1e-4, 1.0 - 1e-4))
        self.log_scales[parents] += factors.log()[:, None]
        for tensor in (*self.rows(), self.nodes, self.moments, self.lives.flies):
            tensor[moving] = tensor[joined]
        if self.shades is not None:
            self.shades[:, moving] = self.shades[:, joined]

    def rows(self) -> list[nn.Parameter]:
        """Parameters that have a row for each Gaussian."""
        own = [self.means, self.quaternions, self.log_scales, self.opacity_logits, self.colours, self.sides]
        return own + ([] if self.skin is None else [self.skin]) + list(self.lives.parameters())
