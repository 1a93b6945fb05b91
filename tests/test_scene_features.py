"""Features of pictures: which are matched, and that small pictures have none."""

import pytest
import torch
from camera_rigs import dome
from kornia.geometry.epipolar import fundamental_from_projections

from syncnerf.scene.features import match, picture_features


def test_matches_are_mutual_distinct_and_near_their_epipolar_lines():
    count, (first, second) = 80, (one.resized(640, 480).projection() for one in dome(6)[:2])
    places = torch.rand(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    seen = [torch.nn.functional.pad(places, (0, 1), value=1.0) @ matrix.T for matrix in (first, second)]
    left, right = (pixels[:, :2] / pixels[:, 2:] for pixels in seen)
    words = torch.nn.functional.normalize(torch.randn(count, 32, generator=torch.Generator().manual_seed(1)), dim=-1)
    fundamental = fundamental_from_projections(first[None], second[None])[0]
    moved = 20.0 * torch.randn(10, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    right[:10] += moved
    lines = torch.nn.functional.pad(left, (0, 1), value=1.0) @ fundamental.T
    aside = (lines * torch.nn.functional.pad(right, (0, 1), value=1.0)).sum(-1).abs() / lines[:, :2].norm(dim=-1)
    pairs = match(left, words, right, words, fundamental)
    assert torch.equal(pairs[:, 0], pairs[:, 1])
    assert set(pairs[:, 0].tolist()) == set((aside < 3.0).nonzero()[:, 0].tolist())
    assert len(match(left[:1], words[:1], right, words, fundamental)) == 0


@pytest.mark.parametrize(("height", "width", "some"), [(1, 1, False), (31, 64, False), (64, 20, False), (32, 40, True)])
def test_small_pictures_have_no_features(height, width, some):
    """As of a video read with a large --downsample."""
    places, words = picture_features(torch.rand(height, width, generator=torch.Generator().manual_seed(0)))
    assert (len(places) > 0) == some
    assert words.shape == (len(places), 128)
