/* Small ReLU networks, forward and backward, block of points by block of points, so that what passes between two layers
 * stays in the cache.
 *
 * Weights are matrix after matrix, each row-major [outputs][inputs], all sides multiples of LANES; sides are those of
 * the layers, [layers + 1]. Inputs are [points][inputs], padded with ones, outputs and their gradients
 * [points][outputs], padded with zeros. Hidden values are layer after layer [points][side],
 * the same for all but the first and last.
 */
#include <stddef.h>
#include <string.h>

#define LANES 16
#define BLOCK 32
#define WIDEST 128
#define MOST_LAYERS 8
#define MATRIX ((size_t)WIDEST * WIDEST)
#define INLINE static inline __attribute__((always_inline))

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* ROWS x (VECTORS * LANES) numbers of a matrix product: c += sum over k of a[row][k] * b[k][column]. */
INLINE void tile(const int rows, const int vectors, const float *a, size_t a_row, size_t a_step, const float *b,
                 size_t b_step, int depth, float *c, size_t c_row) {
    Lanes sums[8][8];
    #pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        #pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) sums[r][v] = *(Lanes *)(c + (size_t)r * c_row + (size_t)(v * LANES));
    for (int k = 0; k < depth; k++) {
        Lanes right[8];
        #pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) right[v] = *(const Lanes *)(b + (size_t)k * b_step + (size_t)(v * LANES));
        #pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            #pragma GCC unroll 8
            for (int v = 0; v < vectors; v++) sums[r][v] += a[(size_t)r * a_row + (size_t)k * a_step] * right[v];
    }
    #pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        #pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) *(Lanes *)(c + (size_t)r * c_row + (size_t)(v * LANES)) = sums[r][v];
}

/* The whole product; rows is a multiple of 8, columns one of LANES. */
static void multiply(const float *a, size_t a_row, size_t a_step, const float *b, size_t b_step, int depth, float *c,
                     size_t c_row, int rows, int columns) {
    int left = columns / LANES;
    while (left) {
        #define TILES(ROWS, VECTORS)                                                                    \
            for (int r = 0; r < rows; r += ROWS)                                                        \
                tile(ROWS, VECTORS, a + (size_t)r * a_row, a_row, a_step, b, b_step, depth,             \
                     c + (size_t)r * c_row, c_row)
        int vectors = left >= 4 ? 4 : left >= 2 ? 2 : 1;
        if (vectors == 4) TILES(4, 4);
        else if (vectors == 2) TILES(8, 2);
        else TILES(8, 1);
        b += vectors * LANES;
        c += vectors * LANES;
        left -= vectors;
    }
}

/* Rows of up to BLOCK points, each brought to `side` numbers and the block to BLOCK rows. */
static void pad(const float *values, int count, int width, int side, float filling, float *padded) {
    for (int b = 0; b < BLOCK; b++, padded += side) {
        int kept = b < count ? width : 0;
        for (int i = 0; i < kept; i++) padded[i] = values[(size_t)b * (size_t)width + (size_t)i];
        for (int i = kept; i < side; i++) padded[i] = filling;
    }
}

static void transpose(const float *weights, const int *sides, int layers, float *transposed) {
    for (int l = 0; l < layers; l++)
        for (int o = 0; o < sides[l + 1]; o++)
            for (int i = 0; i < sides[l]; i++, weights++)
                transposed[(size_t)l * MATRIX + (size_t)(i * sides[l + 1] + o)] = *weights;
}

/* scratch: [layers][WIDEST][WIDEST]. hidden may be null where nobody wants it. */
void network_forward(const float *inputs, long points, int width, const float *weights, const int *sides, int layers,
                     int outputs, float *hidden, float *output, float *scratch, int threads) {
    transpose(weights, sides, layers, scratch);
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (long begin = 0; begin < points; begin += BLOCK) {
        float values[2][BLOCK * WIDEST];
        int count = points - begin < BLOCK ? (int)(points - begin) : BLOCK;
        pad(inputs + begin * width, count, width, sides[0], 1.0f, values[0]);
        for (int l = 0; l < layers; l++) {
            float *before = values[l % 2], *after = values[(l + 1) % 2];
            int side = sides[l + 1];
            memset(after, 0, sizeof(float) * (size_t)(BLOCK * side));
            multiply(before, (size_t)sides[l], 1, scratch + (size_t)l * MATRIX, (size_t)side, sides[l], after,
                     (size_t)side, BLOCK, side);
            if (l == layers - 1) break;
            for (int i = 0; i < BLOCK * side; i++) after[i] = after[i] > 0.0f ? after[i] : 0.0f;
            float *kept = hidden ? hidden + (l * points + begin) * side : NULL;
            if (kept) memcpy(kept, after, sizeof(float) * (size_t)(count * side));
        }
        float *last = values[layers % 2];
        for (int b = 0; b < count; b++)
            memcpy(output + (begin + b) * outputs, last + b * sides[layers], sizeof(float) * (size_t)outputs);
    }
}

/* weight_gradients: zeroed, one set per thread, for the caller to sum; input_gradients may be null. */
void network_backward(const float *inputs, long points, int width, const float *weights, const int *sides, int layers,
                      int outputs, const float *hidden, const float *upstream, float *weight_gradients,
                      float *input_gradients, int threads) {
    size_t offsets[MOST_LAYERS + 1] = {0};
    for (int l = 0; l < layers; l++) offsets[l + 1] = offsets[l] + (size_t)(sides[l] * sides[l + 1]);
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (int part = 0; part < threads; part++) {
        float *sums = weight_gradients + (size_t)part * offsets[layers];
        long end = points * (part + 1) / threads;
        for (long begin = points * part / threads; begin < end; begin += BLOCK) {
            float gradients[2][BLOCK * WIDEST], values[BLOCK * WIDEST];
            int count = end - begin < BLOCK ? (int)(end - begin) : BLOCK;
            pad(upstream + begin * outputs, count, outputs, sides[layers], 0.0f, gradients[layers % 2]);
            for (int l = layers - 1; l >= 0; l--) {
                float *above = gradients[(l + 1) % 2], *below = gradients[l % 2];
                size_t side = (size_t)sides[l], after = (size_t)sides[l + 1];
                if (l) pad(hidden + (size_t)((l - 1) * points + begin) * side, count, sides[l], sides[l], 0.0f, values);
                else pad(inputs + begin * width, count, width, sides[0], 1.0f, values);
                multiply(above, 1, after, values, side, count, sums + offsets[l], side, sides[l + 1], sides[l]);
                if (!l && !input_gradients) break;
                memset(below, 0, sizeof(float) * BLOCK * side);
                multiply(above, after, 1, weights + offsets[l], side, sides[l + 1], below, side, BLOCK, sides[l]);
                if (l)
                    for (size_t i = 0; i < BLOCK * side; i++) below[i] = values[i] > 0.0f ? below[i] : 0.0f;
            }
            float *output = input_gradients ? input_gradients + begin * width : NULL;
            for (int b = 0; output && b < count; b++)
                memcpy(output + b * width, gradients[0] + b * sides[0], sizeof(float) * (size_t)width);
        }
    }
}
