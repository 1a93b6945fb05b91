"""Which pixels a protocol fits and scores."""

import pytest
import torch

from syncnerf.config import EvaluationConfig
from syncnerf.evaluation.protocols import FULL, HOLDOUT, NONE, PROTOCOLS


def test_every_choice_of_the_option_is_a_protocol():
    choices = EvaluationConfig.__dataclass_fields__["protocol"].metadata["choices"]
    assert set(choices) == {name for name, protocol in PROTOCOLS.items() if protocol.fits}


def test_none_fits_nothing_and_scores_everything():
    assert not NONE.fits
    assert not NONE.fit_mask(4, 6).any()
    assert NONE.score_mask(4, 6).all()


def test_full_fits_and_scores_everything():
    assert FULL.fit_mask(4, 6).all()
    assert FULL.score_mask(4, 6).all()


@pytest.mark.parametrize("width", [6, 7, 2])
def test_holdout_never_scores_a_pixel_it_fitted(width):
    fit, score = HOLDOUT.fit_mask(4, width), HOLDOUT.score_mask(4, width)
    assert fit.shape == score.shape == (4, width)
    assert not (fit & score).any()
    assert (fit | score).all()
    assert fit[:, : width // 2].all()


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_the_scored_crop_is_the_score_mask(protocol):
    image = torch.rand(5, 9, 3)
    mask = protocol.score_mask(5, 9)
    assert torch.equal(protocol.scored(image).reshape(-1, 3), image[mask])


def test_the_score_before_the_fit_is_on_the_same_pixels():
    before = HOLDOUT.without_fit()
    assert before.name == "none"
    assert not before.fits
    assert torch.equal(before.score_mask(3, 8), HOLDOUT.score_mask(3, 8))
