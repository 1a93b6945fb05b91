"""Which pixels a protocol fits and scores."""

import pytest
import torch

from syncnerf.config import EvaluationConfig
from syncnerf.evaluation.protocols import FULL, HOLDOUT, NONE, PROTOCOLS


def test_every_choice_of_the_option_is_a_protocol():
    choices = EvaluationConfig.__dataclass_fields__["protocol"].metadata["choices"]
    assert set(choices) == {name for name, protocol in PROTOCOLS.items() if protocol.fits}


def scored(protocol, height: int, width: int) -> torch.Tensor:
    """Which pixels a protocol scores, bool, shape [height, width], told from the crop."""
    numbers = torch.arange(height * width).reshape(height, width)
    return torch.isin(numbers, protocol.scored(numbers).reshape(-1))


def test_none_fits_nothing_and_scores_everything():
    assert not NONE.fits
    assert not NONE.fit_mask(4, 6).any()
    assert scored(NONE, 4, 6).all()


def test_full_fits_and_scores_everything():
    assert FULL.fit_mask(4, 6).all()
    assert scored(FULL, 4, 6).all()


@pytest.mark.parametrize("width", [6, 7, 2])
def test_holdout_never_scores_a_pixel_it_fitted(width):
    fit, score = HOLDOUT.fit_mask(4, width), scored(HOLDOUT, 4, width)
    assert not (fit & score).any()
    assert (fit | score).all()
    assert fit[:, : width // 2].all()


def test_the_scored_crop_keeps_the_image_in_its_order():
    image = torch.rand(5, 9, 3)
    for protocol in PROTOCOLS.values():
        assert torch.equal(protocol.scored(image).reshape(-1, 3), image[scored(protocol, 5, 9)])


def test_the_score_before_the_fit_is_on_the_same_pixels():
    before = HOLDOUT.without_fit()
    assert before.name == "none"
    assert not before.fits
    assert torch.equal(scored(before, 3, 8), scored(HOLDOUT, 3, 8))
