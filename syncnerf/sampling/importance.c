/* Importance of pixels: the weights of a band of an image over all frames, and where draws among them fall. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Colour values looked at together over all frames: three per pixel, and few enough to stay in a core's cache. */
enum { LANES = 384, SEGMENT = 256, COARSE = 256 };

static inline uint8_t larger(uint8_t a, uint8_t b) { return a > b ? a : b; }
static inline uint8_t distance(uint8_t a, uint8_t b) { return a > b ? a - b : b - a; }

/* Lower median over `count` rows of LANES values, found bit by bit. */
static void lower_median(const uint8_t *rows, int64_t count, uint8_t *median) {
    const int64_t rank = (count - 1) / 2;
    memset(median, 0, LANES);
    for (int bit = 128; bit; bit >>= 1) {
        uint8_t candidate[LANES], few[LANES];
        uint32_t below[LANES] = {0};
        for (int k = 0; k < LANES; ++k)
            candidate[k] = median[k] | bit;
        for (int64_t start = 0; start < count; start += 255) { /* so many fit a byte's count */
            const int64_t end = start + 255 < count ? start + 255 : count;
            memset(few, 0, LANES);
            for (int64_t t = start; t < end; ++t)
                for (int k = 0; k < LANES; ++k)
                    few[k] += rows[t * LANES + k] < candidate[k];
            for (int k = 0; k < LANES; ++k)
                below[k] += few[k];
        }
        for (int k = 0; k < LANES; ++k)
            median[k] = below[k] <= rank ? candidate[k] : median[k];
    }
}

/* Largest over the rows at most `reach` away, by running maxima from both ends of stretches of 2 reach + 1 rows
   (van Herk 1992): a window spans the end of one stretch and the beginning of the next. */
static void window_maximum(const uint8_t *rows, int64_t count, int64_t reach, uint8_t *ahead, uint8_t *behind,
                           uint8_t *result) {
    const int64_t stretch = 2 * reach + 1;
    memcpy(ahead, rows, count * LANES);
    memcpy(behind, rows, count * LANES);
    for (int64_t t = 1; t < count; ++t)
        if (t % stretch)
            for (int k = 0; k < LANES; ++k)
                behind[t * LANES + k] = larger(behind[t * LANES + k], behind[(t - 1) * LANES + k]);
    for (int64_t t = count - 2; t >= 0; --t)
        if ((t + 1) % stretch)
            for (int k = 0; k < LANES; ++k)
                ahead[t * LANES + k] = larger(ahead[t * LANES + k], ahead[(t + 1) * LANES + k]);
    for (int64_t t = 0; t < count; ++t) {
        const int64_t last = t + reach < count ? t + reach : count - 1, first = t > reach ? t - reach : 0;
        /* Windows that the video cuts short may lie within one stretch: at its beginning, or at its end. */
        const uint8_t *left = ahead + first * LANES, *right = behind + last * LANES;
        if (first / stretch == last / stretch)
            left = right = first % stretch ? left : right;
        for (int k = 0; k < LANES; ++k)
            result[t * LANES + k] = larger(left[k], right[k]);
    }
}

/* Collect one block of LANES values of all frames, filled up with the last value where the band ends. */
static void collect(const uint8_t *band, int64_t count, int64_t stride, int64_t width, uint8_t *block) {
    for (int64_t t = 0; t < count; ++t) {
        memcpy(block + t * LANES, band + t * stride, width);
        memset(block + t * LANES + width, 0, LANES - width);
    }
}

/* The weights of ISG (reach < 0) or IST of a band: `values` colour values in each of `count` frames, `stride` bytes
   apart. A pixel's weight is table[sum over its channels of channel[d]], d being the distance from the median, or the
   largest distance in the window. Returns 0, or 1 where there is no memory. */
int band_weights(const uint8_t *band, int64_t count, int64_t stride, int64_t values, int64_t reach,
                 const uint16_t *channel, const uint8_t *table, uint8_t *weights) {
    uint8_t *work = malloc(6 * count * LANES);
    if (!work)
        return 1;
    uint8_t *block = work, *flipped = block + count * LANES, *ahead = flipped + count * LANES,
            *behind = ahead + count * LANES, *highest = behind + count * LANES, *lowest = highest + count * LANES;
    for (int64_t first = 0; first < values; first += LANES) {
        const int64_t width = values - first < LANES ? values - first : LANES;
        uint8_t median[LANES], apart[LANES];
        collect(band + first, count, stride, width, block);
        if (reach < 0) {
            lower_median(block, count, median);
        } else {
            for (int64_t k = 0; k < count * LANES; ++k)
                flipped[k] = 255 - block[k];
            window_maximum(block, count, reach, ahead, behind, highest);
            window_maximum(flipped, count, reach, ahead, behind, lowest); /* 255 minus the lowest */
        }
        for (int64_t t = 0; t < count; ++t) {
            const uint8_t *row = block + t * LANES, *high = highest + t * LANES, *low = lowest + t * LANES;
            if (reach < 0)
                for (int k = 0; k < LANES; ++k)
                    apart[k] = distance(row[k], median[k]);
            else
                for (int k = 0; k < LANES; ++k)
                    apart[k] = larger(high[k] - row[k], low[k] - (uint8_t)(255 - row[k]));
            uint8_t *out = weights + (t * values + first) / 3;
            for (int64_t k = 0; k < width; k += 3)
                out[k / 3] = table[channel[apart[k]] + channel[apart[k + 1]] + channel[apart[k + 2]]];
        }
    }
    free(work);
    return 0;
}

/* Sums of segments of SEGMENT weights. */
void segment_sums(const uint8_t *weights, int64_t segments, uint32_t *sums) {
    for (int64_t s = 0; s < segments; ++s) {
        uint32_t sum = 0;
        for (int k = 0; k < SEGMENT; ++k)
            sum += weights[s * SEGMENT + k];
        sums[s] = sum;
    }
}

/* Which segments draws fall into: the first whose cumulative sum exceeds targets[k], among those of one camera.

   For draw k: sums[k], the cumulative sums of its camera's segments (of all, from the first), of which there are
   segments[k]; the search begins with blocks[k], in units of COARSE segments. Gives the segment, and what is left of
   the target within it. */
void find_segments(const uint64_t *const *sums, const int64_t *blocks, const int64_t *segments,
                   const uint64_t *targets, int64_t count, int64_t *found, int64_t *rest) {
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < count; ++k) {
        int64_t low = blocks[k] * COARSE, high = low + COARSE < segments[k] ? low + COARSE : segments[k];
        while (low < high) {
            const int64_t middle = (low + high) / 2;
            if (sums[k][middle] > targets[k])
                high = middle;
            else
                low = middle + 1;
        }
        found[k] = low;
        rest[k] = targets[k] - (low ? sums[k][low - 1] : 0);
    }
}

/* The first of a segment's weights whose cumulative sum exceeds rest[k]. */
void find_weights(const uint8_t *segments, const int64_t *rest, int64_t count, int64_t *places) {
    for (int64_t k = 0; k < count; ++k) {
        int64_t left = rest[k];
        int place = 0;
        while (place < SEGMENT - 1 && left >= segments[k * SEGMENT + place])
            left -= segments[k * SEGMENT + place++];
        places[k] = place;
    }
}
