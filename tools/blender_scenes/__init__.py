"""Animated scenes, camera rigs and the Cycles renderer behind ``tools/make_blender_scene.py``.

Only :mod:`blender_scenes.cycles` and :mod:`blender_scenes.blender_objects` need Blender's Python module; everything
that decides *where things are at a moment in time* is plain NumPy, so that it can be tested without Blender.
"""
