"""Parts and lights as Blender's objects. Needs ``bpy``."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix, Vector

from blender_scenes.lighting import Light
from blender_scenes.parts import Part

STATES = (0, 1)
"""Blender's frames that hold the moving parts as the shutter opens and as it closes."""


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


def _material(part: Part, seed: float, ambient: float):
    """Nodes for the part's paint: random cells in the palette's colours, multiplied by soft-edged spots.

    ``seed`` moves the pattern, so that two parts with one palette differ; ``ambient``: share that shines of itself.
    """
    material = bpy.data.materials.new(part.name)
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

    paint, is_flat = part.paint, not part.mesh.vertices[:, 2].any()
    dimensions = "2D" if is_flat else "3D"  # a third of the time
    cells = nodes.new("ShaderNodeTexVoronoi")
    cells.voronoi_dimensions = dimensions
    cells.inputs["Scale"].default_value = paint.patches
    link(shift.outputs[0], cells.inputs["Vector"])
    count = len(paint.colours)
    palette = _ramp(nodes, [(i / count, c) for i, c in enumerate(paint.colours)], constant=True)
    separate = nodes.new("ShaderNodeSeparateColor")
    link(cells.outputs["Color"], separate.inputs[0])
    link(separate.outputs[0], palette.inputs["Fac"])

    dots = nodes.new("ShaderNodeTexVoronoi")
    dots.voronoi_dimensions = dimensions
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
    colour = next(socket for socket in mix.outputs if socket.type == "RGBA")
    link(colour, surface.inputs["Base Color"])
    if ambient:
        link(colour, surface.inputs["Emission Color"])
        surface.inputs["Emission Strength"].default_value = ambient
    return material


def add_part(part: Part, index: int, ambient: float):
    """Put a part into Blender's scene; returns the object.

    Args:
        part: shape and paint; where it is, is not yet said.
        index: its place among the parts, which moves its paint's pattern.
        ambient: share of its colour that shines of itself.
    """
    mesh = bpy.data.meshes.new(part.name)
    mesh.from_pydata(part.mesh.vertices.tolist(), [], part.mesh.faces.tolist())
    rest = mesh.attributes.new("rest_position", "FLOAT_VECTOR", "POINT")
    rest.data.foreach_set("vector", part.mesh.vertices.astype(np.float32).ravel())
    mesh.shade_smooth()
    mesh.materials.append(_material(part, 3.1 * (index + 1), ambient))
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


def add_light(light: Light) -> None:
    """Put a light into Blender's scene."""
    data = bpy.data.lights.new(light.kind, light.kind)
    data.energy = light.energy
    if light.kind == "SUN":
        data.angle = light.size
    else:
        data.size = light.size
    thing = bpy.data.objects.new(light.kind, data)
    backward = Vector(light.position) - Vector(light.target)
    thing.matrix_world = Matrix.Translation(light.position) @ backward.to_track_quat("Z", "Y").to_matrix().to_4x4()
    bpy.context.scene.collection.objects.link(thing)
