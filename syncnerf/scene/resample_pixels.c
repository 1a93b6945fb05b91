/* Bilinear resampling of an RGB image at known places, in fixed point. */

#include <stdint.h>
#include <string.h>

enum { BLOCK = 64 };

/* The channels of the pixel that ends at `end`, in bytes 0 to 2.
   Four bytes are loaded at once, but none from behind the pixel: there the image may end. */
static inline uint32_t ending(const uint8_t *end) {
    uint32_t value;
    memcpy(&value, end - 4, 4);
    return value >> 8;
}

static inline uint32_t starting(const uint8_t *start) {
    uint32_t value;
    memcpy(&value, start, 4);
    return value;
}

/* out[k] = the mix of the four pixels from (row, column) = corners[2 k ..] on, by fractions[2 k ..] (down, right) of
   1/256, rounded; stride: bytes from a row to the next. Returns 0, or 1 where one of the four is not in the image. */
int resample_pixels(const uint8_t *image, int64_t height, int64_t width, int64_t stride, const uint16_t *corners,
                    const uint8_t *fractions, int64_t count, uint8_t *out) {
    uint32_t first[BLOCK], right_of[BLOCK], below[BLOCK], right_below[BLOCK], mixed[BLOCK];
    for (int64_t start = 0; start < count; start += BLOCK) {
        const int size = count - start < BLOCK ? (int)(count - start) : BLOCK;
        int outside = 0;
        for (int k = 0; k < size; ++k)
            outside |= (corners[2 * (start + k)] >= height - 1) | (corners[2 * (start + k) + 1] >= width - 1);
        if (outside)
            return 1;
        /* Collect first: then the arithmetic runs on many pixels at once. */
        for (int k = 0; k < size; ++k) {
            const uint16_t *corner = corners + 2 * (start + k);
            const uint8_t *from = image + corner[0] * stride + 3 * (int64_t)corner[1];
            first[k] = starting(from), right_of[k] = ending(from + 6);
            below[k] = starting(from + stride), right_below[k] = ending(from + stride + 6);
        }
        for (int k = 0; k < size; ++k) {
            const uint32_t down = fractions[2 * (start + k)], right = fractions[2 * (start + k) + 1];
            const uint32_t both = (down * right + 8) >> 4, only_right = 16 * right - both, only_down = 16 * down - both;
            const uint32_t neither = 4096 - 16 * (down + right) + both;
            uint32_t pixel = 0;
            for (int shift = 0; shift < 24; shift += 8) {
                const uint32_t sum = (first[k] >> shift & 255) * neither + (right_of[k] >> shift & 255) * only_right +
                                     (below[k] >> shift & 255) * only_down + (right_below[k] >> shift & 255) * both;
                pixel |= (sum + 2048) >> 12 << shift;
            }
            mixed[k] = pixel;
        }
        for (int k = 0; k < size; ++k)
            memcpy(out + 3 * (start + k), mixed + k, 3);
    }
    return 0;
}
