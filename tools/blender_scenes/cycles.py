"""Rendering with Blender's Cycles on the CPU. The only module here that needs ``bpy``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from blender_scenes.scenes import Paint, Part

STATES = (0, 1)
"""Blender's frames that hold the moving parts as the shutter opens and as it closes."""


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


def _ramp(nodes, stops: list[tuple[float, tuple[float, float, float]]], constant: bool):
    node = nodes.new("ShaderNodeValToRGB")
    node.color_ramp.interpolation = "CONSTANT" if constant else "LINEAR"
    elements = node.color_ramp.elements
    while len(elements) < len(stops):
        elements.new(0.5)
    for element, (position, colour) in zip(elements, stops, strict=True):
        element.position = position
        element.color = (*colour, 1.0)
    return node


def _material(name: str, paint: Paint, seed: float):
    """Nodes for ``paint``: random cells in the palette's colours, multiplied by soft-edged spots.

    ``seed`` moves the pattern, so that two parts with one palette differ.
    """
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes, link = material.node_tree.nodes, material.node_tree.links.new
    surface = nodes["Principled BSDF"]
    surface.inputs["Roughness"].default_value = 0.8
    surface.inputs["Specular IOR Level"].default_value = 0.15

    rest = nodes.new("ShaderNodeAttribute")
    rest.attribute_name = "rest_position"
    shift = nodes.new("ShaderNodeVectorMath")
    shift.inputs[1].default_value = (seed, 1.7 * seed, 2.3 * seed)
    link(rest.outputs["Vector"], shift.inputs[0])

    cells = nodes.new("ShaderNodeTexVoronoi")
    cells.inputs["Scale"].default_value = paint.patches
    link(shift.outputs[0], cells.inputs["Vector"])
    count = len(paint.colours)
    palette = _ramp(nodes, [(i / count, c) for i, c in enumerate(paint.colours)], constant=True)
    separate = nodes.new("ShaderNodeSeparateColor")
    link(cells.outputs["Color"], separate.inputs[0])
    link(separate.outputs[0], palette.inputs["Fac"])

    dots = nodes.new("ShaderNodeTexVoronoi")
    dots.inputs["Scale"].default_value = paint.spots
    link(shift.outputs[0], dots.inputs["Vector"])
    spots = _ramp(nodes, [(0.26, (0.22, 0.22, 0.22)), (0.36, (1.0, 1.0, 1.0))], constant=False)
    link(dots.outputs["Distance"], spots.inputs["Fac"])

    mix = nodes.new("ShaderNodeMix")
    mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
    mix.inputs["Factor"].default_value = 1.0
    colour_inputs = [socket for socket in mix.inputs if socket.type == "RGBA"]
    link(palette.outputs["Color"], colour_inputs[0])
    link(spots.outputs["Color"], colour_inputs[1])
    link(next(s for s in mix.outputs if s.type == "RGBA"), surface.inputs["Base Color"])
    return material


def _add_part(part: Part, index: int):
    mesh = bpy.data.meshes.new(part.name)
    mesh.from_pydata(part.mesh.vertices.tolist(), [], part.mesh.faces.tolist())
    rest = mesh.attributes.new("rest_position", "FLOAT_VECTOR", "POINT")
    rest.data.foreach_set("vector", part.mesh.vertices.astype(np.float32).ravel())
    mesh.shade_smooth()
    mesh.materials.append(_material(part.name, part.paint, seed=3.1 * (index + 1)))
    thing = bpy.data.objects.new(part.name, mesh)
    thing.rotation_mode = "QUATERNION"
    bpy.context.scene.collection.objects.link(thing)
    if part.deform is not None:
        _add_shapes(thing)
    return thing


def _add_shapes(thing) -> None:
    """A shape for each of the two states, faded one into the other between them."""
    thing.shape_key_add(name="rest")
    for state in STATES:
        shape = thing.shape_key_add(name=f"at {state}")
        for frame in STATES:
            shape.value = float(frame == state)
            shape.keyframe_insert("value", frame=frame)


def _add_light(kind: str, position: tuple[float, float, float], energy: float, size: float) -> None:
    """A light at ``position`` that points at the origin. ``size``: metres of an area light, radians of a sun's disc."""
    light = bpy.data.lights.new(kind, kind)
    light.energy = energy
    if kind == "SUN":
        light.angle = size
    else:
        light.size = size
    thing = bpy.data.objects.new(kind, light)
    from_vector = Matrix.Translation(position).to_translation()
    thing.matrix_world = Matrix.Translation(position) @ from_vector.to_track_quat("Z", "Y").to_matrix().to_4x4()
    bpy.context.scene.collection.objects.link(thing)


class CyclesRenderer:
    """Renders ``parts`` as seen from any pose at any time, over a pure white background.

    ``width``, ``height``: pixels; ``camera_angle_x``: horizontal field of view in radians; ``samples``: Cycles samples
    per pixel before denoising; ``scratch``: a folder for the picture in flight.
    """

    def __init__(
        self, parts: list[Part], width: int, height: int, camera_angle_x: float, samples: int, scratch: Path
    ) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.context.preferences.edit.keyframe_new_interpolation_type = "LINEAR"
        self.picture_path = Path(scratch) / "frame.exr"
        self.parts = [(part, _add_part(part, index)) for index, part in enumerate(parts)]
        self._configure(width, height, samples)
        _add_light("SUN", (1.5, 1.8, 4.0), energy=2.0, size=0.12)
        _add_light("AREA", (3.0, -3.0, 2.5), energy=95.0, size=2.5)
        camera = bpy.data.cameras.new("camera")
        camera.sensor_fit = "HORIZONTAL"
        camera.angle = camera_angle_x
        self.camera = bpy.data.objects.new("camera", camera)
        bpy.context.scene.collection.objects.link(self.camera)
        bpy.context.scene.camera = self.camera

    def _configure(self, width: int, height: int, samples: int) -> None:
        scene = bpy.context.scene
        world = bpy.data.worlds.new("world")
        world.use_nodes = True
        world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.5
        world.node_tree.nodes["Background"].inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
        scene.world = world
        scene.view_settings.view_transform = "Standard"
        scene.view_settings.look = "None"
        render = scene.render
        render.engine = "CYCLES"
        render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
        render.film_transparent = True
        render.use_persistent_data = True
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
        cycles.samples = samples
        cycles.seed = 0
        cycles.use_animated_seed = False
        cycles.use_adaptive_sampling = False
        cycles.max_bounces = cycles.diffuse_bounces = 1
        cycles.glossy_bounces = cycles.transmission_bounces = cycles.volume_bounces = 0
        cycles.caustics_reflective = cycles.caustics_refractive = False
        # At these sizes most of the error is the edges' aliasing: the same time spent on samples lowers it more.
        cycles.use_denoising = False

    def render(
        self, time: float, camera_to_world: np.ndarray, shutter: float = 0.0, rows: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Display values of a picture, or of some of its rows, float [rows, W, 3] in 0..1.

        Args:
            time: seconds; the middle of the exposure.
            camera_to_world: the camera's pose [4, 4].
            shutter: seconds of the exposure; what moves in it is blurred, in linear light.
            rows: first and last-plus-one row, counted from the top; all when None.
        """
        render = bpy.context.scene.render
        first, last = rows or (0, render.resolution_y)
        self._place(time - shutter / 2, STATES[0])
        if shutter:
            self._place(time + shutter / 2, STATES[1])
        render.use_motion_blur = shutter > 0
        render.use_border = render.use_crop_to_border = True
        render.border_max_y, render.border_min_y = (1.0 - row / render.resolution_y for row in (first, last))
        self.camera.matrix_world = Matrix(camera_to_world.tolist())
        with _quiet_stdout():
            bpy.ops.render.render(write_still=True)
        return over_white(self._read_picture())

    def _place(self, time: float, state: int) -> None:
        """Keep where every part is at ``time`` as its state at frame ``state``."""
        for part, thing in self.parts:
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


def over_white(picture: np.ndarray) -> np.ndarray:
    """Display values [..., 3] of linear light times alpha, and alpha, [..., 4] over white.

    Mixed in display values, as fields mix colours.
    """
    alpha = picture[..., 3:].clip(0.0, 1.0)
    return to_display(picture[..., :3] / alpha.clip(1e-6)).clip(0.0, 1.0) * alpha + (1.0 - alpha)


def to_linear(display: np.ndarray) -> np.ndarray:
    """Linear light of sRGB's display values."""
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def to_display(linear: np.ndarray) -> np.ndarray:
    """sRGB's display values of linear light of at least 0."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clip(0.0) ** (1.0 / 2.4) - 0.055)
