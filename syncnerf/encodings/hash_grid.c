/* Multiresolution hash grid (Mueller et al. 2022, section 3), forward and backward, in 2 to 4 dimensions.
 *
 * Layout (tiny-cuda-nn's): the table is level after level, an entry is `features` floats. Coordinates are
 * [points][dimensions], features [points][levels * features]. A level is worked on from the first point to the last, so
 * that its part of the table stays in the cache, and in blocks of points, so that indices and weights are vectors.
 * Levels share nothing: threads take levels each, and the gradient of the table needs no atomics and no copies.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 32
#define MOST_DIMENSIONS 4
#define MOST_FEATURES 8
#define MOST_CORNERS 16
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    float scale;     /* cells per unit of the coordinate */
    uint32_t side;   /* vertices per axis */
    uint32_t size;   /* entries of the table */
    uint32_t offset; /* entries before them */
    uint32_t hashed; /* by hash (then size is a power of two), or row after row */
} Level;

typedef struct {
    float weight[MOST_DIMENSIONS][2][BLOCK]; /* of the lower and the upper vertex along each axis */
    float slope[MOST_DIMENSIONS][BLOCK];     /* of the upper vertex's weight, by the coordinate */
    uint32_t index[MOST_CORNERS][BLOCK];     /* entries of the cell's vertices; bit d of a corner: upper along axis d */
    float product[MOST_CORNERS][BLOCK];      /* their weights */
} Cells;

static const uint32_t PRIMES[MOST_DIMENSIONS] = {1u, 2654435761u, 805459861u, 3674653429u};

/* The cells of up to BLOCK points; what lies beyond `count` is a cell too, so that all loops have one length. */
INLINE void find_cells_of(int dimensions, int hashed, const float *coordinates, int count, const Level *level, int smooth,
                          Cells *cells) {
    uint32_t term[MOST_DIMENSIONS][2][BLOCK], stride = 1, size = level->size;
    float scale = level->scale;
    for (int d = 0; d < dimensions; d++) {
        uint32_t factor = hashed ? PRIMES[d] : stride;
        float column[BLOCK] = {0.0f};
        stride *= level->side;
        for (int b = 0; b < count; b++) column[b] = coordinates[b * dimensions + d];
        for (int b = 0; b < BLOCK; b++) {
            float position = column[b] * scale + 0.5f;
            float lower = floorf(position);
            float fraction = position - lower;
            float steps = fraction * fraction * (3.0f - 2.0f * fraction), rise = 6.0f * fraction * (1.0f - fraction);
            uint32_t vertex = (uint32_t)(int32_t)lower;
            term[d][0][b] = vertex * factor;
            term[d][1][b] = (vertex + 1u) * factor;
            fraction = smooth ? steps : fraction;
            cells->weight[d][0][b] = 1.0f - fraction;
            cells->weight[d][1][b] = fraction;
            cells->slope[d][b] = smooth ? rise * scale : scale;
        }
    }
    for (int corner = 0; corner < 1 << dimensions; corner++) {
        uint32_t most = 0;
        for (int b = 0; b < BLOCK; b++) {
            uint32_t sum = term[0][corner & 1][b];
            float product = cells->weight[0][corner & 1][b];
            for (int d = 1; d < dimensions; d++) {
                uint32_t other = term[d][corner >> d & 1][b];
                sum = hashed ? sum ^ other : sum + other;
                product *= cells->weight[d][corner >> d & 1][b];
            }
            sum = hashed ? sum & (size - 1u) : sum;
            most = sum > most ? sum : most;
            cells->index[corner][b] = sum;
            cells->product[corner][b] = product;
        }
        /* Only at the upper border, and outside. */
        if (!hashed && most >= size)
            for (int b = 0; b < BLOCK; b++) cells->index[corner][b] %= size;
    }
}

static void find_cells(int dimensions, const float *coordinates, int count, const Level *level, int smooth, Cells *cells) {
    #define FIND(D, HASHED) find_cells_of(D, HASHED, coordinates, count, level, smooth, cells)
    switch (2 * dimensions + (level->hashed != 0)) {
        case 4: FIND(2, 0); break;
        case 5: FIND(2, 1); break;
        case 6: FIND(3, 0); break;
        case 7: FIND(3, 1); break;
        case 8: FIND(4, 0); break;
        case 9: FIND(4, 1); break;
    }
}

/* Weighted sums of the vertices' features. */
INLINE void gather(int features, const Cells *cells, int corners, int count, const float *table, float *output, int width) {
    for (int b = 0; b < count; b++) {
        float sum[MOST_FEATURES] = {0.0f};
        for (int corner = 0; corner < corners; corner++) {
            const float *entry = table + (size_t)cells->index[corner][b] * (size_t)features;
            for (int f = 0; f < features; f++) sum[f] += cells->product[corner][b] * entry[f];
        }
        for (int f = 0; f < features; f++) output[b * width + f] = sum[f];
    }
}

/* Adds the upstream, weighted, to the vertices' gradients. */
INLINE void scatter(int features, const Cells *cells, int corners, int count, const float *upstream, int width,
                    float *gradient) {
    for (int b = 0; b < count; b++) {
        float above[MOST_FEATURES];
        for (int f = 0; f < features; f++) above[f] = upstream[b * width + f];
        for (int corner = 0; corner < corners; corner++) {
            float *entry = gradient + (size_t)cells->index[corner][b] * (size_t)features;
            for (int f = 0; f < features; f++) entry[f] += cells->product[corner][b] * above[f];
        }
    }
}

/* Products of the upstream with the vertices' features. */
INLINE void find_steepness(int features, const Cells *cells, int corners, int count, const float *table,
                           const float *upstream, int width, float (*steepness)[BLOCK]) {
    float above[MOST_FEATURES][BLOCK] = {{0.0f}};
    for (int b = 0; b < count; b++)
        for (int f = 0; f < features; f++) above[f][b] = upstream[b * width + f];
    for (int corner = 0; corner < corners; corner++)
        for (int b = 0; b < BLOCK; b++) {
            const float *entry = table + (size_t)cells->index[corner][b] * (size_t)features;
            float sum = 0.0f;
            for (int f = 0; f < features; f++) sum += above[f][b] * entry[f];
            steepness[corner][b] = sum;
        }
}

/* Adds the gradient of the coordinates: along an axis the difference of the vertices, along the others their mean. */
INLINE void add_slopes(int dimensions, const Cells *cells, float (*steepness)[BLOCK], int count, float *output) {
    for (int d = 0; d < dimensions; d++) {
        float part[MOST_CORNERS / 2][BLOCK];
        int left = 1 << (dimensions - 1);
        for (int k = 0; k < left; k++) {
            int lower = (k >> d << (d + 1)) | (k & ((1 << d) - 1)), upper = lower | 1 << d;
            for (int b = 0; b < BLOCK; b++) part[k][b] = steepness[upper][b] - steepness[lower][b];
        }
        for (int e = 0; e < dimensions; e++) {
            if (e == d) continue;
            left /= 2;
            for (int k = 0; k < left; k++)
                for (int b = 0; b < BLOCK; b++)
                    part[k][b] = cells->weight[e][0][b] * part[2 * k][b] + cells->weight[e][1][b] * part[2 * k + 1][b];
        }
        for (int b = 0; b < BLOCK; b++) part[0][b] *= cells->slope[d][b];
        for (int b = 0; b < count; b++) output[b * dimensions + d] += part[0][b];
    }
}

/* The same with numbers that the compiler can unroll over. */
#define FOR_FEATURES(CALL, ...)                    \
    switch (features) {                            \
        case 1: CALL(1, __VA_ARGS__); break;       \
        case 2: CALL(2, __VA_ARGS__); break;       \
        case 4: CALL(4, __VA_ARGS__); break;       \
        case 8: CALL(8, __VA_ARGS__); break;       \
    }
#define FOR_DIMENSIONS(CALL, ...)                  \
    switch (dimensions) {                          \
        case 2: CALL(2, __VA_ARGS__); break;       \
        case 3: CALL(3, __VA_ARGS__); break;       \
        case 4: CALL(4, __VA_ARGS__); break;       \
    }

void hash_grid_forward(const float *coordinates, long points, const float *table, const Level *levels, int level_count,
                       int dimensions, int features, int smooth, float *output, int threads) {
    int width = level_count * features;
    #pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int l = 0; l < level_count; l++) {
        const float *entries = table + (size_t)levels[l].offset * (size_t)features;
        for (long begin = 0; begin < points; begin += BLOCK) {
            int count = points - begin < BLOCK ? (int)(points - begin) : BLOCK;
            Cells cells;
            find_cells(dimensions, coordinates + begin * dimensions, count, levels + l, smooth, &cells);
            FOR_FEATURES(gather, &cells, 1 << dimensions, count, entries, output + begin * width + l * features, width)
        }
    }
}

/* table_gradient: zeroed by the caller; coordinate_gradients: zeroed, one [points][dimensions] per thread, for the
 * caller to sum. Either may be null. */
void hash_grid_backward(const float *coordinates, long points, const float *table, const Level *levels, int level_count,
                        int dimensions, int features, int smooth, const float *upstream, float *table_gradient,
                        float *coordinate_gradients, int threads) {
    int width = level_count * features;
    #pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int part = 0; part < threads; part++)
        for (int l = part; l < level_count; l += threads) {
            size_t offset = (size_t)levels[l].offset * (size_t)features;
            for (long begin = 0; begin < points; begin += BLOCK) {
                int count = points - begin < BLOCK ? (int)(points - begin) : BLOCK;
                const float *above = upstream + begin * width + l * features;
                Cells cells;
                find_cells(dimensions, coordinates + begin * dimensions, count, levels + l, smooth, &cells);
                if (table_gradient)
                    FOR_FEATURES(scatter, &cells, 1 << dimensions, count, above, width, table_gradient + offset)
                if (coordinate_gradients) {
                    float steepness[MOST_CORNERS][BLOCK];
                    float *own = coordinate_gradients + (part * points + begin) * dimensions;
                    FOR_FEATURES(find_steepness, &cells, 1 << dimensions, count, table + offset, above, width, steepness)
                    FOR_DIMENSIONS(add_slopes, &cells, steepness, count, own)
                }
            }
        }
}
