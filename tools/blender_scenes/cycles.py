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
    bpy.context.scene.collection.objects.link(thing)
    return thing


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
        self.picture_path = Path(scratch) / "frame.png"
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
        # The default dither adds noise to every 8-bit picture, which no field can reproduce.
        render.dither_intensity = 0.0
        render.use_persistent_data = True
        render.filepath = str(self.picture_path)
        render.image_settings.file_format = "PNG"
        render.image_settings.color_mode = "RGBA"
        render.image_settings.color_depth = "8"
        render.image_settings.compression = 0
        cycles = scene.cycles
        cycles.device = "CPU"
        cycles.samples = samples
        cycles.seed = 0
        cycles.use_animated_seed = False
        cycles.use_adaptive_sampling = False
        cycles.max_bounces = cycles.diffuse_bounces = 1
        cycles.glossy_bounces = cycles.transmission_bounces = cycles.volume_bounces = 0
        cycles.caustics_reflective = cycles.caustics_refractive = False
        cycles.use_denoising = True
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        # Prefiltering the guides costs as much as the rendering and measured no gain.
        cycles.denoising_prefilter = "NONE"

    def render(self, time: float, camera_to_world: np.ndarray) -> np.ndarray:
        """The picture at ``time`` seconds from ``camera_to_world`` [4, 4]: float [H, W, 3] in 0..1, display values."""
        for part, thing in self.parts:
            thing.matrix_world = Matrix(part.pose(time).tolist())
            if part.deform is not None:
                thing.data.vertices.foreach_set("co", part.deform(time).astype(np.float32).ravel())
                thing.data.update()
        self.camera.matrix_world = Matrix(camera_to_world.tolist())
        with _quiet_stdout():
            bpy.ops.render.render(write_still=True)
        return self._read_over_white()

    def _read_over_white(self) -> np.ndarray:
        picture = bpy.data.images.load(str(self.picture_path))
        picture.colorspace_settings.name = "Non-Color"
        width, height = picture.size
        values = np.empty(width * height * 4, dtype=np.float32)
        picture.pixels.foreach_get(values)
        bpy.data.images.remove(picture)
        values = values.reshape(height, width, 4)[::-1]
        alpha = values[..., 3:]
        return values[..., :3] * alpha + (1.0 - alpha)

    def render_blurred(self, time: float, camera_to_world: np.ndarray, shutter: float, steps: int = 8) -> np.ndarray:
        """As :meth:`render`, with the shutter open for ``shutter`` seconds centred on ``time``.

        Light adds up before the display curve, so the ``steps`` pictures are averaged in linear light.
        """
        moments = time + shutter * ((np.arange(steps) + 0.5) / steps - 0.5)
        total = sum(_to_linear(self.render(moment, camera_to_world)) for moment in moments)
        return _to_display(total / steps)


def _to_linear(display: np.ndarray) -> np.ndarray:
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def _to_display(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1.0 / 2.4) - 0.055)
