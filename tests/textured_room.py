"""Pictures of a textured corner of a room, in closed form, for what follows or matches points."""

import numpy as np

WIDTH, HEIGHT, FOCAL = 320, 240, 300.0


def texture(seed, size=512):
    """Noise of several scales, [size, size, 3] in 0..255."""
    generator, result = np.random.default_rng(seed), np.zeros((size, size, 3))
    for cells in (16, 64, 256):
        result += np.kron(generator.uniform(0, 85, (cells, cells, 3)), np.ones((size // cells, size // cells, 1)))
    return result


def room(pose, textures, focal=FOCAL):
    """A corner of three textured walls (x, y, z = -2, 4 wide) from a pose, uint8 [height, width, 3]."""
    row, column = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    local = np.stack([(column - WIDTH / 2) / focal, -(row - HEIGHT / 2) / focal, -np.ones_like(row)], axis=-1)
    directions, origin = local @ pose[:3, :3].T, pose[:3, 3]
    distances = (-2.0 - origin) / np.where(np.abs(directions) < 1e-9, 1e-9, directions)
    wall = np.where(distances > 0, distances, np.inf).argmin(axis=-1)
    points = origin + directions * np.take_along_axis(distances, wall[..., None], axis=-1)
    image = np.zeros((HEIGHT, WIDTH, 3))
    for axis in range(3):
        across = np.delete(points, axis, axis=-1)
        cell = np.clip(((across + 2.0) / 6.0 * 512).astype(int), 0, 511)
        image = np.where((wall == axis)[..., None], textures[axis][cell[..., 0], cell[..., 1]], image)
    return image.round().astype(np.uint8)
