"""The frame cache after kills, beside other runs, on full disks and in folders it cannot write to."""

import os
import resource
import shutil
import signal
import time
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from syncnerf.errors import UserError
from syncnerf.scene import frame_cache
from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.exclusive_file import partial_path
from syncnerf.scene.frame_cache import FrameCache, cache_directory

FRAMES, HEIGHT, WIDTH = 6, 8, 10
COUNT = 4


@dataclass(frozen=True)
class CountedSource:
    """Frames of noise; notes each decoding in a file, and can be told to misbehave."""

    path: Path
    number: int
    kill_at: int = -1
    fail_at: int = -1
    pause: float = 0.0

    def fingerprint(self):
        return str(self.number)

    def pictures(self):
        return np.random.default_rng(self.number).integers(0, 255, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)

    def decode(self, intrinsics):
        with (self.path / "decodings").open("a") as file:
            file.write(f"{self.number}\n")
        for index, picture in enumerate(self.pictures()):
            if index == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if index == self.fail_at:
                raise UserError(f"cam{self.number}: decoding failed")
            time.sleep(self.pause)
            yield picture
        (self.path / f"finished{self.number}").touch()


@pytest.fixture
def cameras():
    """Four cameras."""
    size = Intrinsics(WIDTH, HEIGHT, 9.0, 9.0, WIDTH / 2, HEIGHT / 2)
    return tuple(Camera(f"cam{k}", size, torch.eye(4, dtype=torch.float64), 10.0, FRAMES) for k in range(COUNT))


def make_cache(folder, **misbehaviour):
    """A cache of four cameras; keywords as ``cam2={"kill_at": 3}``."""
    sources = {f"cam{k}": CountedSource(folder, k, **misbehaviour.get(f"cam{k}", {})) for k in range(COUNT)}
    return FrameCache(folder / "cache", sources)


def decodings(folder):
    """Numbers of the cameras that were decoded, sorted."""
    path = folder / "decodings"
    return sorted(map(int, path.read_text().split())) if path.exists() else []


def check(cache, cameras):
    """All frames are right, and nothing lies about."""
    for camera in cameras:
        np.testing.assert_array_equal(cache.open(camera), cache.sources[camera.name].pictures())
    assert not list(cache.directory.glob(".*"))


def in_child(action):
    """Run in a forked process; returns its process id."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    return child


def test_frames_are_decoded_once(tmp_path, cameras):
    make_cache(tmp_path).prepare(cameras)
    make_cache(tmp_path).prepare(cameras)
    check(make_cache(tmp_path), cameras)
    assert decodings(tmp_path) == [0, 1, 2, 3]


def test_finished_cameras_stay_after_a_kill(tmp_path, cameras):
    make_cache(tmp_path).prepare(cameras[:2])
    child = in_child(lambda: make_cache(tmp_path, cam2={"kill_at": 3}).prepare(cameras))
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert list((tmp_path / "cache").glob(".cam2*.partial"))
    (tmp_path / "decodings").unlink()
    make_cache(tmp_path).prepare(cameras)
    check(make_cache(tmp_path), cameras)
    assert set(decodings(tmp_path)) <= {2, 3}


def test_concurrent_runs_share_the_work(tmp_path, cameras):
    slow = {f"cam{k}": {"pause": 0.01} for k in range(COUNT)}
    children = [in_child(lambda: make_cache(tmp_path, **slow).prepare(cameras)) for _ in range(3)]
    make_cache(tmp_path, **slow).prepare(cameras)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    check(make_cache(tmp_path), cameras)
    assert decodings(tmp_path) == [0, 1, 2, 3]


def test_a_waiting_run_takes_over_from_a_killed_one(tmp_path, cameras):
    child = in_child(lambda: make_cache(tmp_path, cam0={"pause": 0.05, "kill_at": 4}).open(cameras[0]))
    while not decodings(tmp_path):
        time.sleep(0.01)
    cache = make_cache(tmp_path)
    np.testing.assert_array_equal(cache.open(cameras[0]), cache.sources["cam0"].pictures())
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert decodings(tmp_path) == [0, 0]


def test_one_failure_stops_the_others_and_leaves_no_parts(tmp_path, cameras):
    slow = {f"cam{k}": {"pause": 0.2} for k in (1, 2, 3)}
    with pytest.raises(UserError, match="cam0"):
        make_cache(tmp_path, cam0={"fail_at": 1}, **slow).prepare(cameras)
    assert not list(tmp_path.glob("finished*"))
    assert not list((tmp_path / "cache").glob(".*"))
    make_cache(tmp_path).prepare(cameras)
    check(make_cache(tmp_path), cameras)


SPOILERS = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "header only": lambda path: os.truncate(path, 128),
    "longer": lambda path: path.open("ab").write(b"0"),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size)),
    "other shape": lambda path: np.save(path, np.zeros((FRAMES - 1, HEIGHT, WIDTH, 3), np.uint8)),
    "other type": lambda path: np.save(path, np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.float32)),
    "objects": lambda path: np.save(path, np.array([{}]), allow_pickle=True),
    "archive": lambda path: np.savez(path.open("wb"), frames=np.zeros(3)),
}


@pytest.mark.parametrize("name", SPOILERS)
def test_a_damaged_cache_is_never_believed(tmp_path, cameras, name, caplog):
    cache = make_cache(tmp_path)
    cache.prepare(cameras)
    SPOILERS[name](cache.path_of(cameras[1]))
    make_cache(tmp_path).prepare(cameras)
    check(make_cache(tmp_path), cameras)
    assert "is damaged and is written anew" in caplog.text
    assert decodings(tmp_path) == [0, 1, 1, 2, 3]


def test_the_cache_of_another_version_is_left_alone(tmp_path, cameras, monkeypatch):
    monkeypatch.setattr(frame_cache, "CACHE_VERSION", 1)
    make_cache(tmp_path).prepare(cameras)
    monkeypatch.undo()
    make_cache(tmp_path).prepare(cameras)
    check(make_cache(tmp_path), cameras)
    assert decodings(tmp_path) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_full_disk_is_found_before_decoding(tmp_path, cameras, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, FRAMES * HEIGHT * WIDTH * 3))
    with pytest.raises(UserError, match=r"need 0\.0 GB.*--cache-dir"):
        make_cache(tmp_path).prepare(cameras)
    assert decodings(tmp_path) == []


def test_a_write_that_fails_leaves_nothing(tmp_path, cameras):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UserError, match="cannot write the frame cache"):
            make_cache(tmp_path).prepare(cameras)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "cache").iterdir()) == []
    make_cache(tmp_path).prepare(cameras)
    check(make_cache(tmp_path), cameras)


def test_a_cache_folder_that_is_a_file(tmp_path, cameras):
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match="cache"):
        make_cache(tmp_path).prepare(cameras)


def test_a_read_only_scene_is_cached_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    place = cache_directory(tmp_path, None)
    assert place.is_relative_to(tmp_path / "home" / "syncnerf")
    assert cache_directory(tmp_path, tmp_path / "asked") == tmp_path / "asked"


def test_too_many_and_too_few_frames_are_refused(tmp_path, cameras):
    size = cameras[0].intrinsics
    for count in (FRAMES - 1, FRAMES + 1):
        camera = Camera("cam0", size, cameras[0].camera_to_world, 10.0, count)
        with pytest.raises(UserError, match=f"of {count} frames"):
            make_cache(tmp_path).open(camera)
    assert list((tmp_path / "cache").iterdir()) == []


def test_names_that_are_no_file_names(tmp_path, cameras):
    camera = Camera("../a/b ★" * 30, cameras[0].intrinsics, cameras[0].camera_to_world, 10.0, FRAMES)
    cache = FrameCache(tmp_path / "cache", {camera.name: CountedSource(tmp_path, 0)})
    np.testing.assert_array_equal(cache.open(camera), cache.sources[camera.name].pictures())
    assert cache.path_of(camera).parent == tmp_path / "cache"
    assert partial_path(cache.path_of(camera)).parent == tmp_path / "cache"


@pytest.mark.parametrize("offered", [True, False])
def test_frames_that_have_left_memory_are_all_on_the_disk(cameras, tmp_path, monkeypatch, offered):
    monkeypatch.setattr(frame_cache, "LEAVE_BYTES", 2 * HEIGHT * WIDTH * 3)
    if not offered:  # as on systems without advice on files
        monkeypatch.delattr(os, "posix_fadvise", raising=False)
    sources = {f"cam{k}": CountedSource(tmp_path, k) for k in range(COUNT)}
    cache = FrameCache(tmp_path / "cache", sources)
    cache.prepare(cameras)
    for k, camera in enumerate(cameras):
        np.testing.assert_array_equal(cache.open(camera), sources[f"cam{k}"].pictures())
