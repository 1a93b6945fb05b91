"""Rendering with Blender's Cycles on the CPU. Needs ``bpy``."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from blender_scenes.blender_objects import STATES, add_light, add_part
from blender_scenes.lighting import Lighting
from blender_scenes.parts import Part


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Blender reports every saved file on the process's own standard output; hide that, not Python's errors."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


class CyclesRenderer:
    """Renders parts as seen from any pose at any time.

    Args:
        parts: all of them.
        samples: per pixel.
        scratch: a folder for the picture that Blender writes.
        lighting: of the scene.
        standing: how many of the parts, the first ones, never move.
    """

    def __init__(
        self, parts: list[Part], samples: int, scratch: Path, lighting: Lighting | None = None, standing: int = 0
    ) -> None:
        lighting = lighting or Lighting()
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.context.preferences.edit.keyframe_new_interpolation_type = "LINEAR"
        self.picture_path, self.samples = Path(scratch) / "frame.exr", samples
        things = [add_part(part, index, lighting.ambient) for index, part in enumerate(parts)]
        self.moving = list(zip(parts[standing:], things[standing:], strict=True))
        for part, thing in zip(parts[:standing], things[:standing], strict=True):
            thing.matrix_world = Matrix(part.pose(0.0).tolist())
        self._configure(lighting)
        for light in lighting.lights:
            add_light(light)
        camera = bpy.data.cameras.new("camera")
        camera.sensor_fit = "HORIZONTAL"
        self.camera = bpy.data.objects.new("camera", camera)
        bpy.context.scene.collection.objects.link(self.camera)
        bpy.context.scene.camera = self.camera

    def _configure(self, lighting: Lighting) -> None:
        scene = bpy.context.scene
        world = bpy.data.worlds.new("world")
        world.use_nodes = True
        world.node_tree.nodes["Background"].inputs["Color"].default_value = (*lighting.sky, 1.0)
        scene.world = world
        world.cycles_visibility.diffuse = world.cycles_visibility.glossy = not lighting.sky_is_seen
        render = scene.render
        render.engine = "CYCLES"
        render.resolution_percentage = 100
        render.film_transparent = not lighting.sky_is_seen
        render.use_persistent_data = True
        render.use_border = render.use_crop_to_border = True
        scene.frame_set(STATES[0])
        render.motion_blur_position = "START"
        render.motion_blur_shutter = 1.0
        render.filepath = str(self.picture_path)
        render.image_settings.file_format = "OPEN_EXR"
        render.image_settings.color_mode = "RGBA"
        render.image_settings.color_depth = "32"
        render.image_settings.exr_codec = "NONE"
        cycles = scene.cycles
        cycles.device = "CPU"
        cycles.seed = 0
        cycles.use_animated_seed = False
        cycles.use_adaptive_sampling = cycles.use_light_tree = False
        cycles.max_bounces = cycles.diffuse_bounces = lighting.bounces
        cycles.glossy_bounces = cycles.transmission_bounces = cycles.volume_bounces = 0
        cycles.caustics_reflective = cycles.caustics_refractive = False
        # At these sizes most of the error is the edges' aliasing: the same time spent on samples lowers it more.
        cycles.use_denoising = False

    def aim(self, camera_to_world: np.ndarray, size: tuple[int, int], focal: float) -> None:
        """Where the camera is [4, 4], the picture's width and height, and the focal length, both in pixels."""
        self.camera.matrix_world = Matrix(camera_to_world.tolist())
        self.camera.data.angle = 2.0 * math.atan(0.5 * size[0] / focal)
        render = bpy.context.scene.render
        render.resolution_x, render.resolution_y = size

    def render(self, time: float, shutter: float, region: tuple[int, int, int, int]) -> np.ndarray:
        """Linear light times alpha, and alpha, of a part of the picture, float32 [rows, columns, 4].

        Args:
            time: seconds; the middle of the exposure.
            shutter: seconds of the exposure; what moves in it is blurred.
            region: left, top, right, bottom in pixels, the last two not included.
        """
        self._place(time - shutter / 2, STATES[0])
        if shutter:
            self._place(time + shutter / 2, STATES[1])
        bpy.context.scene.render.use_motion_blur = shutter > 0
        return self._render_region(region, self.samples)

    def render_standing(self, times_samples: int = 4) -> np.ndarray:
        """As :meth:`render`, all of the picture without what moves, with ``times_samples`` as many samples."""
        render = bpy.context.scene.render
        for _, thing in self.moving:
            thing.hide_render = True
        render.use_motion_blur = False
        picture = self._render_region((0, 0, render.resolution_x, render.resolution_y), times_samples * self.samples)
        for _, thing in self.moving:
            thing.hide_render = False
        return picture

    def _render_region(self, region: tuple[int, int, int, int], samples: int) -> np.ndarray:
        left, top, right, bottom = region
        render = bpy.context.scene.render
        bpy.context.scene.cycles.samples = samples
        width, height = render.resolution_x, render.resolution_y
        # Blender rounds down; a quarter of a pixel keeps it from the pixel below.
        render.border_min_x, render.border_max_x = (left + 0.25) / width, (right + 0.25) / width
        render.border_min_y, render.border_max_y = (height - bottom + 0.25) / height, (height - top + 0.25) / height
        with _quiet_stdout():
            bpy.ops.render.render(write_still=True)
        picture = self._read_picture()
        if picture.shape[:2] != (bottom - top, right - left):
            raise RuntimeError(f"Blender rendered {picture.shape[:2]} rows and columns instead of region {region}")
        return picture

    def _place(self, time: float, state: int) -> None:
        """Keep where every part is at ``time`` as its state at frame ``state``."""
        for part, thing in self.moving:
            location, turn, _ = Matrix(part.pose(time).tolist()).decompose()
            if turn.dot(thing.rotation_quaternion) < 0:
                turn.negate()  # the shorter way from one state to the other
            thing.location, thing.rotation_quaternion = location, turn
            thing.keyframe_insert("location", frame=state)
            thing.keyframe_insert("rotation_quaternion", frame=state)
            if part.deform is not None:
                shape = thing.data.shape_keys.key_blocks[f"at {state}"]
                shape.data.foreach_set("co", part.deform(time).astype(np.float32).ravel())

    def _read_picture(self) -> np.ndarray:
        """What Blender saved: linear light times alpha, and alpha, float [rows, W, 4]."""
        picture = bpy.data.images.load(str(self.picture_path))
        width, height = picture.size
        values = np.empty(width * height * 4, dtype=np.float32)
        picture.pixels.foreach_get(values)
        bpy.data.images.remove(picture)
        return values.reshape(height, width, 4)[::-1]
