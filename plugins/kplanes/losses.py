"""What a field of features is trained with beside the pixels themselves."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from syncnerf.questions import Rendering
from syncnerf.rendering.ray_ends import end_loss, end_shares
from syncnerf.rendering.ray_samples import RaySamples
from syncnerf_kplanes.field import Features
from syncnerf_kplanes.options import LossesConfig, PenaltiesConfig
from syncnerf_kplanes.proposal import distortion_loss, histogram_loss


def ray_losses(
    config: LossesConfig,
    rendering: Rendering,
    truth: Float[Tensor, "N 3"],
    trains_proposals: bool,
    longest: float | None,
) -> dict[str, Float[Tensor, ""]]:
    """Photometric loss and those of the samples along rays, weighted (K-Planes, section 3.4 and appendix).

    Args:
        config: weights.
        rendering: of N rays, with their samples, weights and proposals' levels among the extras.
        truth: the rays' true colours, shape [N, 3].
        trains_proposals: whether the levels were rendered with gradients.
        longest: distance that counts as 1 for the distortion; None for each ray's own.
    """
    samples, weights, levels = (rendering.extras[name] for name in ("samples", "weights", "levels"))
    terms = {"photometric": (rendering.rgb - truth).square().mean()}
    if levels and trains_proposals:
        terms["histogram"] = config.histogram_weight * sum(histogram_loss(samples, weights, *level) for level in levels)
    if config.distortion_weight:
        terms["distortion"] = config.distortion_weight * distortion_loss(samples, weights, longest)
    if config.density_weight:
        terms["density"] = config.density_weight * (weights * (1.0 - weights)).sum(dim=-1).mean()
    return terms


def ends_loss(rendering: Rendering, distances: Float[Tensor, " N"], trains_proposals: bool) -> Float[Tensor, ""]:
    """How far the field, and the proposals where they are trained, are from ending rays where these are known to end.

    Args:
        rendering: as for :func:`ray_losses`.
        distances: at which the rays end, in the units of the samples, NaN where that is not known, shape [N].
        trains_proposals: as for :func:`ray_losses`.
    """
    extras = rendering.extras

    def of(samples: RaySamples, weights: Float[Tensor, "N S"]) -> Float[Tensor, ""]:
        shares = end_shares(samples.edges[:, :-1], samples.edges[:, 1:], distances[:, None])
        return end_loss((weights * shares).sum(dim=-1), distances)

    levels = extras["levels"] if trains_proposals else []
    return of(extras["samples"], extras["weights"]) + sum(of(*level) for level in levels)


def feature_penalties(
    config: PenaltiesConfig, features: Features, proposals: Sequence[Features]
) -> dict[str, Float[Tensor, ""]]:
    """Regularisers of the features, weighted, of those kinds that they have; the proposals' have weights of their own.

    They are counted in every ``regularize_every``-th step alone, and as many times as much there.
    """
    weights = {
        "total_variation": (config.tv_weight, config.proposal_tv_weight),
        "time_smoothness": (config.time_smoothness_weight, config.proposal_time_smoothness_weight),
        "static": (config.static_weight, config.proposal_static_weight),
        "decay": (config.decay_weight, config.proposal_decay_weight),
    }
    terms: dict[str, Tensor] = {}
    for grids, role in [(features, 0), *((grids, 1) for grids in proposals)]:
        for name, penalty in grids.penalties().items():
            if weights[name][role]:
                value = config.regularize_every * weights[name][role] * penalty()
                terms[name] = terms[name] + value if name in terms else value
    return terms
