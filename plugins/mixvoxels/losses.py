"""What the fields are trained with beside the pixels themselves."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from syncnerf.batch import RayBatch
from syncnerf.questions import Rendering
from syncnerf.rendering.ray_ends import end_loss, end_shares
from syncnerf_mixvoxels.field import DynamicField, StaticField, VariationField
from syncnerf_mixvoxels.options import LossesConfig, PenaltiesConfig
from syncnerf_mixvoxels.series import PackedSamples


def series_losses(config: LossesConfig, rendering: Rendering, batch: RayBatch) -> dict[str, Float[Tensor, ""]]:
    """Photometric loss, the static field's and the variation field's, weighted (MixVoxels, section 3.4).

    Args:
        config: weights, and what the static field should show.
        rendering: of N rays at T times, with the static field's colours and the chances of change among the extras.
        batch: of these rays, with their statistics.
    """
    target = batch.statistics["mean"] if config.static_target == "mean" else batch.rgb.median(dim=1).values
    changes, chances = batch.statistics["deviation"] > config.variation_deviation, rendering.extras["change"]
    return {
        "photometric": (rendering.rgb - batch.rgb).square().mean(),
        "static": config.static_weight * (rendering.extras["static_rgb"] - target).square().mean(),
        "variation": config.variation_weight * variation_loss(chances, changes, config.variation_still_weight),
    }


def variation_loss(logits: Float[Tensor, " N"], changes: Bool[Tensor, " N"], still_weight: float) -> Float[Tensor, ""]:
    """Class-weighted binary cross entropy of a ray's largest chance of change (MixVoxels, equation 5).

    Args:
        logits: the largest logit on each ray, shape [N].
        changes: whether the ray's pixel, or one near it, changes over time, bool, shape [N].
        still_weight: weight of a ray that does not, against 1 for one that does.
    """
    weights = torch.where(changes, 1.0, still_weight).to(logits.dtype)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, changes.to(logits.dtype), weights)


def ends_loss(
    samples: PackedSamples, weights: Float[Tensor, " M"], distances: Float[Tensor, " N"]
) -> Float[Tensor, ""]:
    """How far the static field is from ending rays where these are known to end.

    Args:
        samples: M of N rays.
        weights: the static field's, shape [M].
        distances: at which the rays end, in the units of the samples, NaN where that is not known, shape [N].
    """
    half = 0.5 * samples.lengths
    own = distances.index_select(0, samples.rays)
    ends = samples.add_up(weights * end_shares(samples.distances - half, samples.distances + half, own))
    return end_loss(ends, distances)


def grid_losses(
    config: PenaltiesConfig, static: StaticField, dynamic: DynamicField, variation: VariationField
) -> dict[str, Float[Tensor, ""]]:
    """Total variation and sparsity of the grids, weighted (TensoRF, section 4.4)."""
    terms: dict[str, Tensor] = {}
    fields = (static, dynamic)
    pairs = [(config.tv_density_weight, field.density_grid) for field in fields]
    pairs += [(config.tv_appearance_weight, field.appearance_grid) for field in fields]
    pairs += [(config.tv_variation_weight, variation.grid)]
    smooth = [weight * grid.total_variation() for weight, grid in pairs if weight]
    if smooth:
        terms["total_variation"] = config.regularize_every * torch.stack(smooth).sum()
    if config.l1_weight:
        sparse = torch.stack([field.density_grid.magnitude() for field in fields]).sum()
        terms["sparsity"] = config.regularize_every * config.l1_weight * sparse
    return terms
