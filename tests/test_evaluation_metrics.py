"""Metrics against an independent implementation, and what they answer at the edges."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from syncnerf.evaluation import metrics


def gaussian_window() -> np.ndarray:
    place = np.arange(11) - 5
    window = np.exp(-(place[:, None] ** 2 + place[None] ** 2) / (2 * 1.5**2))
    return window / window.sum()


def reference_ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Wang et al. (2004), equation 13, with direct two-dimensional windows that lie inside the image."""
    values = []
    for x, y in zip(np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0), strict=True):

        def local(image):
            return correlate(image, gaussian_window())[5:-5, 5:-5]

        mean_x, mean_y = local(x), local(y)
        variance_x, variance_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
        covariance = local(x * y) - mean_x * mean_y
        values.append(
            (2 * mean_x * mean_y + 0.01**2)
            * (2 * covariance + 0.03**2)
            / ((mean_x**2 + mean_y**2 + 0.01**2) * (variance_x + variance_y + 0.03**2))
        )
    return float(np.mean(values))


@pytest.mark.parametrize("shape", [(11, 11), (40, 23), (64, 64)])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.5])
def test_ssim_agrees_with_direct_windows(shape, noise):
    random = np.random.default_rng(0)
    truth = random.random((*shape, 3))
    rendering = np.clip(truth + noise * random.standard_normal(truth.shape), 0, 1)
    value = metrics.ssim(torch.from_numpy(rendering), torch.from_numpy(truth))
    assert value == pytest.approx(reference_ssim(rendering, truth), abs=1e-9)
    assert metrics.dssim(value) == pytest.approx((1 - value) / 2)


def test_ssim_needs_a_whole_window():
    assert metrics.ssim(torch.rand(10, 30, 3), torch.rand(10, 30, 3)) is None
    assert metrics.dssim(None) is None


def test_psnr_agrees_with_the_definition():
    random = np.random.default_rng(1)
    first, second = random.random((20, 30, 3)), random.random((20, 30, 3))
    expected = 20 * np.log10(1 / np.sqrt(np.mean((first - second) ** 2)))
    assert metrics.psnr(torch.from_numpy(first), torch.from_numpy(second)) == pytest.approx(expected, abs=1e-9)


def test_psnr_of_an_exact_image_is_finite():
    image = torch.rand(5, 5, 3)
    assert metrics.psnr(image, image) == pytest.approx(100.0)


def test_mean_ignores_what_is_not_known():
    assert metrics.mean_of([1.0, None, 3.0]) == 2.0
    assert metrics.mean_of([None, None]) is None


def test_lpips_without_its_package_is_null_with_a_reason(monkeypatch):
    monkeypatch.setattr(metrics.importlib.util, "find_spec", lambda name: None)
    lpips = metrics.Lpips()
    assert lpips(torch.rand(8, 8, 3), torch.rand(8, 8, 3)) == {"lpips_alex": None, "lpips_vgg": None}
    assert lpips.missing["lpips_alex"] == "the package lpips is not installed"


def test_lpips_is_never_built_without_weights_on_disk(monkeypatch, tmp_path):
    def build(net, verbose):
        built.append(net)
        return torch.nn.PairwiseDistance()

    built = []
    monkeypatch.setattr(metrics.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=build))
    assert "vgg16-397923af.pth" in metrics.Lpips().missing["lpips_vgg"]
    assert built == []
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "vgg16-397923af.pth").touch()
    assert set(metrics.Lpips().missing) == {"lpips_alex"}
    assert built == ["vgg"]


def test_lpips_networks_see_minus_one_to_one(monkeypatch, tmp_path):
    class Recorder(torch.nn.Module):
        def forward(self, first, second):
            seen.append((first.min().item(), first.max().item(), tuple(first.shape)))
            return (first - second).abs().mean()

    seen = []
    monkeypatch.setattr(metrics, "_missing_for", lambda file_name: None)
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=lambda net, verbose: Recorder()))
    image = torch.zeros(4, 6, 3)
    image[0] = 1.0
    assert metrics.Lpips()(image, torch.zeros(4, 6, 3)) == pytest.approx({"lpips_alex": 0.5, "lpips_vgg": 0.5})
    assert seen[0] == (-1.0, 1.0, (1, 3, 4, 6))
