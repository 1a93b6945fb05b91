"""Threads over cameras and pairs."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from tqdm import tqdm

Item, Result = TypeVar("Item"), TypeVar("Result")


def in_parallel(work: Callable[[Item], Result], items: Sequence[Item], description: str, unit: str) -> list[Result]:
    """Apply a function to all items in threads, with a progress bar; results in order.

    As many threads as torch may use; within each, torch uses one: the tensors here are small, and dividing them
    further costs more than it gains.
    """
    if not items:
        return []
    threads = torch.get_num_threads()
    results = []
    try:
        with (
            ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
            tqdm(total=len(items), desc=description, unit=unit, leave=False) as progress,
        ):
            for result in pool.map(work, items):
                results.append(result)
                progress.update()
    finally:
        torch.set_num_threads(threads)
    return results
