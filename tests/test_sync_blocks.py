"""Blocks of strong compression: told from what moves, and kept out of the motion."""

import math

import numpy as np
import pytest
import torch
from textured_videos import textured_video

from syncnerf.sync.blocks import blocks_shown, coded_cameras
from syncnerf.sync.energy import motion_energy


def changing_squares(grid: int, share: float = 0.1, size: int = 96) -> np.ndarray:
    """Frames of grey squares that lie on a grid, a share of which changes by 30 levels from each to the next."""
    generator = np.random.default_rng(grid)
    changes = generator.random((30, size // grid, size // grid)) < share
    levels = 100 + 30 * (changes.cumsum(axis=0) % 2).repeat(grid, axis=1).repeat(grid, axis=2)
    return levels[..., None].repeat(3, axis=-1).astype(np.uint8)


def test_blocks_show_where_all_changes_end_at_their_edges():
    assert blocks_shown(changing_squares(8)) == math.inf
    assert blocks_shown(changing_squares(16)) == math.inf


def test_changes_that_end_anywhere_show_no_blocks():
    assert blocks_shown(changing_squares(1)) == pytest.approx(1.0, abs=0.05)


def test_another_grid_shows_as_often_as_its_lines_are_edges_of_blocks():
    # Every third line: 3 of the 11 edges of blocks are among them, and 24 of the 72 lines inside the smallest ones.
    assert blocks_shown(changing_squares(3)) == pytest.approx((3 / 11) / (24 / 72), rel=0.05)


def test_half_of_the_changes_at_edges_count_so_often():
    blocks, dots = changing_squares(8, 0.25), changing_squares(1, 0.02)
    video = blocks.copy()
    video[:, 48:] = dots[:, 48:]
    # Of the dots' rows and columns as many end anywhere; blocks' ends lie on one line of eight.
    ends_of_dots, ends_of_blocks = 2 * 0.02 * 0.98, 2 * 0.25 * 0.75
    assert blocks_shown(video) == pytest.approx(1 + ends_of_blocks / ends_of_dots, rel=0.1)


def test_pictures_that_say_little_show_no_blocks():
    assert blocks_shown(changing_squares(8)[:1]) == 1.0
    assert blocks_shown(changing_squares(8, size=24)) == 1.0
    assert blocks_shown(np.zeros((10, 64, 64, 3), dtype=np.uint8)) == 1.0


def test_a_camera_is_coded_if_it_shows_plainly_or_most_others_do():
    assert coded_cameras([1.1, 1.3, 1.0]) == [False, False, False]
    assert coded_cameras([1.1, 1.6, 1.0]) == [False, True, False]
    assert coded_cameras([1.1, 1.3, 1.4]) == [True, True, True]
    assert coded_cameras([]) == []


def test_small_changes_of_a_coded_video_are_no_motion():
    video = textured_video()
    energy = motion_energy(video, coded=True)
    difference = np.abs(video[1:].astype(int) - video[:-1]).sum(-1)
    expected = np.clip(difference - 60, 0, None).reshape(len(difference), -1)
    full = torch.zeros(expected.shape[1], expected.shape[0])
    full[energy.pixels] = energy.values.float()
    np.testing.assert_allclose(full.numpy().T, expected, atol=0.5)  # stored in half precision
