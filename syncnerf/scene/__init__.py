"""Cameras, frames and rays, and the readers of every input format."""

from syncnerf.scene.camera import Camera, Intrinsics
from syncnerf.scene.rays import Rays
from syncnerf.scene.readers import load_scene
from syncnerf.scene.scene import Scene

__all__ = ["Camera", "Intrinsics", "Rays", "Scene", "load_scene"]
