"""Random orders of index ranges of any size, in constant memory."""

import numpy as np
from jaxtyping import Int64

ROUNDS = 6


class EpochOrder:
    """Visits 0 .. size-1 in a random order, then again in another, and so on; any position can be asked for.

    A Feistel network over pairs (left, right) with left * right barely above the size, and cycle walking for the few
    pairs outside: a keyed bijection, so no index comes twice in an epoch and nothing is stored.

    Args:
        size: number of indices; 1 or more.
        seed: of all orders.
    """

    def __init__(self, size: int, seed: int):
        self.size, self.seed = size, seed
        self._left = int(np.ceil(np.sqrt(size)))
        self._right = -(-size // self._left)

    def __getitem__(self, positions: slice) -> Int64[np.ndarray, " N"]:
        """Indices at consecutive positions ``start:stop`` of the endless sequence, int64, shape [stop - start]."""
        result = []
        start = positions.start
        while start < positions.stop:
            epoch, place = divmod(start, self.size)
            count = min(positions.stop - start, self.size - place)
            result.append(self._order(np.arange(place, place + count, dtype=np.uint64), epoch))
            start += count
        return np.concatenate(result) if result else np.zeros(0, dtype=np.int64)

    def _order(self, values: np.ndarray, epoch: int) -> np.ndarray:
        keys = np.random.SeedSequence([self.seed & (2**64 - 1), epoch]).generate_state(ROUNDS, np.uint64)
        values = self._shuffled(values, keys)
        outside = np.flatnonzero(values >= self.size)
        while len(outside):
            values[outside] = self._shuffled(values[outside], keys)
            outside = outside[values[outside] >= self.size]
        return values.astype(np.int64)

    def _shuffled(self, values: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """One pass through the network: a bijection of 0 .. left * right - 1."""
        width, height = np.uint64(self._right), np.uint64(self._left)
        top, bottom = values // width, values % width
        for number, key in enumerate(keys):
            if number % 2:
                bottom = (bottom + _mixed(top, key)) % width
            else:
                top = (top + _mixed(bottom, key)) % height
        return top * width + bottom


def _mixed(values: np.ndarray, key: np.uint64) -> np.ndarray:
    """A hash of 64-bit values, below 2^63 (the finaliser of splitmix64, Steele et al. 2014)."""
    mixed = values + key
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(1)
