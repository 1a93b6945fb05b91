"""Tiles of pictures of Gaussians on a GPU: a program per tile, near to far, forward and back and by time.

The same passes as those of the kernel in C (draw.h): the backward pass goes near to far again and leaves its sums entry
by entry, which are added splat by splat in their order, so that results do not depend on the order of programs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from syncnerf_gaussians.projection import NUMBERS, SIDE, Lists

FAINTEST = tl.constexpr(-7.994353437)
DENSEST = tl.constexpr(-0.01449956969)
NOTHING = tl.constexpr(-1e3)
HALF_LOG2_E = tl.constexpr(0.7213475204)
LN_2 = tl.constexpr(0.6931471806)
FINISHED = tl.constexpr(1e-4)
STRIDE = tl.constexpr(NUMBERS)


@triton.jit
def _place(tiles, SIDE: tl.constexpr):
    """Pixels of a program's tile: columns, rows, indices over all views, and which of them there are."""
    tile = tiles + 5 * tl.program_id(0)
    lane = tl.arange(0, SIDE * SIDE)
    column, row = tl.load(tile) + lane % SIDE, tl.load(tile + 1) + lane // SIDE
    width, height = tl.load(tile + 2), tl.load(tile + 3)
    return column, row, tl.load(tile + 4) + row * width + column, (column < width) & (row < height)


@triton.jit
def _response(splat, column, row):
    """Offsets from the mean, the numerator's roots, 1 / denominator, D^2 and the opacity's binary logarithm."""
    dx = column + 0.5 - tl.load(splat)
    dy = row + 0.5 - tl.load(splat + 1)
    first = tl.load(splat + 6) * dx + tl.load(splat + 7) * dy
    second = tl.load(splat + 8) * dy
    e, f = tl.load(splat + 9), tl.load(splat + 10)
    g, h, i = tl.load(splat + 11), tl.load(splat + 12), tl.load(splat + 13)
    denominator = 1.0 + dx * (2.0 * e + g * dx) + dy * (2.0 * f + 2.0 * h * dx + i * dy)
    inverse = 1.0 / tl.maximum(denominator, 1e-6)
    square = (first * first + second * second) * inverse
    exponent = tl.load(splat + 2) - HALF_LOG2_E * square
    # Where a ray comes nearest before it begins, it sees nothing.
    return dx, dy, first, second, inverse, square, tl.where(1.0 + e * dx + f * dy > 0.0, exponent, NOTHING)


@triton.jit
def _alpha(exponent):
    return tl.where(exponent >= FAINTEST, tl.exp2(tl.minimum(exponent, DENSEST)), 0.0)


@triton.jit
def _dimmed(light, weight):
    left = light - weight
    return tl.where(left >= FINISHED, left, 0.0)


@triton.jit
def _exponent_rate(splat, rate, dx, dy, first, second, inverse, square):
    """Derivative by time of the opacity's binary logarithm."""
    l0, l1, l2 = tl.load(splat + 6), tl.load(splat + 7), tl.load(splat + 8)
    e, f = tl.load(splat + 9), tl.load(splat + 10)
    g, h, i = tl.load(splat + 11), tl.load(splat + 12), tl.load(splat + 13)
    x, y = -tl.load(rate), -tl.load(rate + 1)
    first_rate = tl.load(rate + 6) * dx + tl.load(rate + 7) * dy + l0 * x + l1 * y
    second_rate = tl.load(rate + 8) * dy + l2 * y
    denominator = 2.0 * (tl.load(rate + 9) * dx + tl.load(rate + 10) * dy + e * x + f * y)
    denominator += tl.load(rate + 11) * dx * dx + 2.0 * tl.load(rate + 12) * dx * dy + tl.load(rate + 13) * dy * dy
    denominator += 2.0 * (g * dx * x + h * (dx * y + dy * x) + i * dy * y)
    square_rate = (2.0 * (first * first_rate + second * second_rate) - square * denominator) * inverse
    return tl.load(rate + 2) - HALF_LOG2_E * square_rate


@triton.jit
def _draw_kernel(numbers, splats, begin, tiles, rates, values, slopes, SIDE: tl.constexpr, RATES: tl.constexpr):
    """Colours, opacity and depth of a tile's pixels, values [P, 5]; with RATES also slopes [P, 4] by time."""
    column, row, pixel, inside = _place(tiles, SIDE)
    light = tl.where(inside, 1.0, 0.0)
    none = tl.zeros_like(light)
    red, green, blue, depth = none, none, none, none
    light_rate, red_rate, green_rate, blue_rate = none, none, none, none
    entry, end = tl.load(begin + tl.program_id(0)), tl.load(begin + tl.program_id(0) + 1)
    more = entry < end
    while more:
        which = tl.load(splats + entry).to(tl.int64) * STRIDE
        splat = numbers + which
        dx, dy, first, second, inverse, square, exponent = _response(splat, column, row)
        alpha = _alpha(exponent)
        weight = alpha * light
        r, g, b = tl.load(splat + 3), tl.load(splat + 4), tl.load(splat + 5)
        red += weight * r
        green += weight * g
        blue += weight * b
        ahead = (1.0 + tl.load(splat + 9) * dx + tl.load(splat + 10) * dy) * tl.load(splat + 14) * inverse
        depth += tl.where(weight > 0.0, weight * ahead, 0.0)
        left = _dimmed(light, weight)
        if RATES:
            rate = rates + which
            change = alpha * LN_2 * _exponent_rate(splat, rate, dx, dy, first, second, inverse, square)
            change = tl.where((exponent >= FAINTEST) & (exponent < DENSEST), change, 0.0)
            change = change * light + alpha * light_rate
            red_rate += change * r + weight * tl.load(rate + 3)
            green_rate += change * g + weight * tl.load(rate + 4)
            blue_rate += change * b + weight * tl.load(rate + 5)
            light_rate = tl.where(left > 0.0, light_rate - change, 0.0)
        light = left
        entry += 1
        more = (entry < end) & (tl.max(light, axis=0) > 0.0)
    tl.store(values + 5 * pixel, red, mask=inside)
    tl.store(values + 5 * pixel + 1, green, mask=inside)
    tl.store(values + 5 * pixel + 2, blue, mask=inside)
    tl.store(values + 5 * pixel + 3, 1.0 - light, mask=inside)
    tl.store(values + 5 * pixel + 4, depth, mask=inside)
    if RATES:
        tl.store(slopes + 4 * pixel, red_rate, mask=inside)
        tl.store(slopes + 4 * pixel + 1, green_rate, mask=inside)
        tl.store(slopes + 4 * pixel + 2, blue_rate, mask=inside)
        tl.store(slopes + 4 * pixel + 3, -light_rate, mask=inside)


@triton.jit
def _backward_kernel(numbers, splats, begin, tiles, values, upstream, sums, SIDE: tl.constexpr):
    """Slopes by the numbers of each entry's splat, sums [E, 15], from those by colours and opacity, upstream [P, 4]."""
    column, row, pixel, inside = _place(tiles, SIDE)
    light = tl.where(inside, 1.0, 0.0)
    red = tl.load(upstream + 4 * pixel, mask=inside, other=0.0)
    green = tl.load(upstream + 4 * pixel + 1, mask=inside, other=0.0)
    blue = tl.load(upstream + 4 * pixel + 2, mask=inside, other=0.0)
    opacity = tl.load(values + 5 * pixel + 3, mask=inside, other=1.0)
    # Where no light was left the opacity is 1, whatever the Gaussians do.
    whole = tl.where(opacity < 1.0, tl.load(upstream + 4 * pixel + 3, mask=inside, other=0.0), 0.0)
    behind = whole * opacity + red * tl.load(values + 5 * pixel, mask=inside, other=0.0)
    behind += green * tl.load(values + 5 * pixel + 1, mask=inside, other=0.0)
    behind += blue * tl.load(values + 5 * pixel + 2, mask=inside, other=0.0)
    entry, end = tl.load(begin + tl.program_id(0)), tl.load(begin + tl.program_id(0) + 1)
    more = entry < end
    while more:
        splat = numbers + tl.load(splats + entry).to(tl.int64) * STRIDE
        dx, dy, first, second, inverse, square, exponent = _response(splat, column, row)
        alpha = _alpha(exponent)
        weight = alpha * light
        worth = red * tl.load(splat + 3) + green * tl.load(splat + 4) + blue * tl.load(splat + 5) + whole
        behind -= weight * worth
        slope = alpha * (light * worth - behind / (1.0 - alpha))
        slope = tl.where((exponent >= FAINTEST) & (exponent < DENSEST), slope, 0.0)
        by_square = tl.where(slope != 0.0, -0.5 * slope * inverse, 0.0)
        by_both = tl.where(slope != 0.0, by_square * square, 0.0)
        out = sums + entry.to(tl.int64) * STRIDE
        l0, l1, l2 = tl.load(splat + 6), tl.load(splat + 7), tl.load(splat + 8)
        e, f = tl.load(splat + 9), tl.load(splat + 10)
        g, h, i = tl.load(splat + 11), tl.load(splat + 12), tl.load(splat + 13)
        by_first, by_second = 2.0 * by_square * first, 2.0 * by_square * second
        by_u = by_both * 2.0 * (e + g * dx + h * dy) - by_first * l0
        by_v = by_both * 2.0 * (f + h * dx + i * dy) - by_first * l1 - by_second * l2
        tl.store(out, tl.sum(by_u, axis=0))
        tl.store(out + 1, tl.sum(by_v, axis=0))
        tl.store(out + 2, tl.sum(slope * LN_2, axis=0))
        tl.store(out + 3, tl.sum(weight * red, axis=0))
        tl.store(out + 4, tl.sum(weight * green, axis=0))
        tl.store(out + 5, tl.sum(weight * blue, axis=0))
        tl.store(out + 6, tl.sum(by_first * dx, axis=0))
        tl.store(out + 7, tl.sum(by_first * dy, axis=0))
        tl.store(out + 8, tl.sum(by_second * dy, axis=0))
        tl.store(out + 9, -2.0 * tl.sum(by_both * dx, axis=0))
        tl.store(out + 10, -2.0 * tl.sum(by_both * dy, axis=0))
        tl.store(out + 11, -tl.sum(by_both * dx * dx, axis=0))
        tl.store(out + 12, -2.0 * tl.sum(by_both * dx * dy, axis=0))
        tl.store(out + 13, -tl.sum(by_both * dy * dy, axis=0))
        light = _dimmed(light, weight)
        entry += 1
        more = (entry < end) & (tl.max(light, axis=0) > 0.0)


class TritonTiles(torch.autograd.Function):
    """Colours, opacity and depth along the camera's axis of P pixels, shape [P, 5], from the splats' numbers.

    Forward mode as well: the numbers' derivatives by anything become those of the colours.
    """

    @staticmethod
    def forward(numbers: Tensor, pixels: int, lists: Lists) -> Tensor:
        """Draw the tiles."""
        numbers = numbers.contiguous()
        values = numbers.new_zeros(pixels, 5)
        if len(lists.tiles):
            _draw_kernel[(len(lists.tiles),)](
                numbers, lists.splats, lists.begin, lists.tiles, numbers, values, values, SIDE=SIDE, RATES=False
            )
        return values

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        """Keep what both ways back need."""
        numbers, ctx.pixels, ctx.lists = inputs
        ctx.save_for_backward(numbers, output)
        ctx.save_for_forward(numbers)

    @staticmethod
    def backward(ctx, upstream: Tensor):
        """Gradients by the numbers, summed splat by splat in their order."""
        numbers, values = ctx.saved_tensors
        lists, numbers = ctx.lists, numbers.contiguous()
        sums = numbers.new_zeros(len(lists.splats), NUMBERS)
        if len(lists.tiles):
            _backward_kernel[(len(lists.tiles),)](
                numbers, lists.splats, lists.begin, lists.tiles, values, upstream[:, :4].contiguous(), sums, SIDE=SIDE
            )
        return torch.segment_reduce(sums[lists.order], "sum", lengths=lists.lengths, axis=0, unsafe=True), None, None

    @staticmethod
    def jvp(ctx, rates: Tensor, _pixels: None, _lists: None) -> Tensor:
        """Derivatives of the colours and the opacity, for those of the numbers; the depth's are not worked out."""
        (numbers,) = ctx.saved_tensors
        lists, numbers = ctx.lists, numbers.contiguous()
        values, slopes = numbers.new_zeros(ctx.pixels, 5), numbers.new_zeros(ctx.pixels, 4)
        if len(lists.tiles):
            _draw_kernel[(len(lists.tiles),)](
                numbers,
                lists.splats,
                lists.begin,
                lists.tiles,
                rates.contiguous(),
                values,
                slopes,
                SIDE=SIDE,
                RATES=True,
            )
        return torch.nn.functional.pad(slopes, (0, 1))
