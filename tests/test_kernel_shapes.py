"""Kernels in C never read beyond a tensor's end: what does not fit is refused, or computed by their plain twins."""

import inspect
import os

import numpy as np
import pytest
import torch

from syncnerf.encodings.hash_grid_layout import GridLayout
from syncnerf.encodings.hash_grid_native import native_features, native_is_there
from syncnerf.sampling.importance_weights import SEGMENT, isg_weights, ist_weights, segment_sums
from syncnerf.sampling.pixel_reader import SPAN, read_pieces
from syncnerf.scene.lens import resample_pixels
from syncnerf_kplanes.plane_lookup import PAIRS, plane_features, plane_features_torch
from syncnerf_mixvoxels.vm_lookup import LINE_AXES, PLANE_AXES, vm_features, vm_features_torch

# What refuses a wrong shape here is the functions themselves, not the tests' check of what they state.
unchecked_plane_features, unchecked_vm_features = inspect.unwrap(plane_features), inspect.unwrap(vm_features)
unchecked_hash_features, unchecked_pieces = inspect.unwrap(native_features), inspect.unwrap(read_pieces)
unchecked_isg_weights, unchecked_ist_weights = inspect.unwrap(isg_weights), inspect.unwrap(ist_weights)
unchecked_resampling = inspect.unwrap(resample_pixels)


def planes(sizes, channels: int = 8) -> list[torch.Tensor]:
    return [torch.randn(sizes[second], sizes[first], channels) for first, second in PAIRS]


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 5, 4, 3), (5, 4, 3, 1), (2, 2, 2, 2)])
def test_planes_of_a_single_cell_are_sampled_as_plain_torch_does(sizes):
    points, grids = torch.rand(50, 4) * 3 - 1.5, planes(sizes)
    torch.testing.assert_close(plane_features(points, grids), plane_features_torch(points, grids), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda grids: grids.pop(),
        lambda grids: grids.clear(),
        lambda grids: grids.__setitem__(1, grids[1][:-1]),
        lambda grids: grids.__setitem__(4, grids[4][:, :-1]),
        lambda grids: grids.__setitem__(3, grids[3][..., :-1]),
        lambda grids: grids.__setitem__(0, grids[0][:0]),
        lambda grids: grids.__setitem__(2, grids[2][0]),
    ],
)
def test_planes_that_do_not_belong_together_are_refused(spoil):
    grids = planes((6, 5, 4, 3))
    spoil(grids)
    with pytest.raises(ValueError, match=r"plane"):
        unchecked_plane_features(torch.rand(9, 4), grids)
    with pytest.raises(ValueError, match="points"):
        unchecked_plane_features(torch.rand(9, 3), planes((6, 5, 4, 3)))


def test_planes_of_other_numbers_do_not_reach_the_kernel():
    grids = [plane.double() for plane in planes((6, 5, 4, 3))]
    assert plane_features(torch.rand(9, 4, dtype=torch.float64), grids).dtype == torch.float64


def grids_of(cells, rank: int = 4):
    return (
        [torch.randn(cells[second], cells[first], rank) for first, second in PLANE_AXES],
        [torch.randn(cells[axis], rank) for axis in LINE_AXES],
    )


def test_a_grid_of_planes_and_lines_is_checked_too():
    points = torch.rand(40, 3) * 3 - 1.5
    for cells in ((1, 1, 1), (1, 4, 3), (4, 3, 1)):
        pair = grids_of(cells)
        torch.testing.assert_close(vm_features(points, *pair), vm_features_torch(points, *pair), rtol=1e-4, atol=1e-5)
    for spoil in (
        lambda at, on: (at[1:], on),
        lambda at, on: (at, [on[0][:-1], *on[1:]]),
        lambda at, on: ([at[0][:, :-1], *at[1:]], on),
        lambda at, on: (at, [on[0][:, :-1], *on[1:]]),
    ):
        with pytest.raises(ValueError, match=r"plane"):
            unchecked_vm_features(points, *spoil(*grids_of((5, 4, 3))))
    with pytest.raises(ValueError, match="points"):
        unchecked_vm_features(points[:, :2], *grids_of((5, 4, 3)))


def test_a_hash_grid_is_checked_too():
    layout = GridLayout(3, 2, 2, 8, 4, 2.0)
    table, points = torch.rand(layout.size), torch.rand(9, 3)
    if not native_is_there(points, table):
        pytest.skip("no C compiler")
    assert native_features(points, table, layout).shape == (9, 4)
    for coordinates, entries in ((points, table[:-1]), (points[:, :2], table), (points[0], table)):
        with pytest.raises(ValueError, match="a table of"):
            unchecked_hash_features(coordinates, entries, layout)
    extreme = torch.tensor([[float("nan")] * 3, [float("inf")] * 3, [-1e30] * 3, [1e30] * 3])
    assert native_features(extreme, table, layout).shape == (4, 4)
    with pytest.raises(ValueError, match=r"2\^32"):
        GridLayout(4, 64, 2, 28, 1024, 1.0)


def test_pieces_larger_than_the_kernel_has_room_for_are_read_all_the_same(tmp_path):
    content = np.random.default_rng(0).bytes(3 * SPAN)
    (tmp_path / "file").write_bytes(content)
    file = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        for size in (3, SPAN, SPAN + 1, 2 * SPAN):
            offsets = np.array([0, 5, SPAN], dtype=np.int64)
            pieces = read_pieces(np.full(3, file), offsets, size)
            assert [bytes(piece) for piece in pieces] == [content[at : at + size] for at in offsets.tolist()]
        assert read_pieces(np.full(1, file), np.array([3 * SPAN - 2]), 3) is None
        assert read_pieces(np.full(1, file), np.array([-5]), 3) is None
        with pytest.raises(ValueError, match="files for"):
            unchecked_pieces(np.full(2, file), np.array([1]), 3)
    finally:
        os.close(file)


def test_weights_are_of_bytes_of_three_channels():
    for wrong in (np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3), np.float32), np.zeros((4, 5), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            unchecked_isg_weights(wrong, 0.02)
        with pytest.raises(ValueError, match="uint8"):
            unchecked_ist_weights(wrong, 2, 0.1)
    with pytest.raises(ValueError, match="segments"):
        segment_sums(np.zeros((4, SEGMENT - 1), np.uint8))
    strided = np.ones((4, 2 * SEGMENT), np.uint8)[:, ::2]
    assert segment_sums(strided).tolist() == [SEGMENT] * 4


def test_an_image_holds_the_corners_that_are_read():
    image = np.random.default_rng(0).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    corners, fractions = np.array([[0, 0], [2, 3]], dtype=np.uint16), np.zeros((2, 2), np.uint8)
    assert (resample_pixels(image, corners, fractions) == image[[0, 2], [0, 3]]).all()
    for outside in ([3, 0], [0, 4], [65535, 0]):
        with pytest.raises((ValueError, IndexError)):
            resample_pixels(image, np.array([outside], dtype=np.uint16), fractions[:1])
    with pytest.raises(ValueError, match="corners"):
        unchecked_resampling(image, corners, fractions[:1])
    with pytest.raises(ValueError, match="side by side"):
        resample_pixels(image[:, ::2], corners, fractions)
