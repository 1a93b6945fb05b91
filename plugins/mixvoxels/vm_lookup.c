/* Products of bilinear samples of a plane and linear samples of a line, for the three ways to split x y z into a plane
 * and a line (TensoRF, equation 5), forward and backward.
 *
 * Layout: plane g is [second axis][first axis][rank g] float, line g is [axis][rank g]; every rank is a multiple of
 * LANES. Points are [points][3] floats in [-1, 1], clamped to the border, corners aligned. Features are
 * [points][sum of ranks].
 */
#include <stddef.h>

#define GROUPS 3
#define LANES 4

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static const int FIRST_AXIS[GROUPS] = {0, 0, 1};
static const int SECOND_AXIS[GROUPS] = {1, 2, 2};
static const int LINE_AXIS[GROUPS] = {2, 1, 0};

typedef struct {
    size_t plane[4]; /* corners at (first, second) = 00, 10, 01, 11, as offsets into the plane */
    size_t line[2];
    float plane_weight[4], line_weight[2];
} Neighbours;

typedef struct {
    int cell;
    float fraction;
} Position;

static inline Position locate(float coordinate, int size) {
    float position = (coordinate + 1.0f) * 0.5f * (float)(size - 1);
    if (!(position > 0.0f)) position = 0.0f; /* NaN lands here too */
    if (position > (float)(size - 1)) position = (float)(size - 1);
    int cell = (int)position;
    if (cell > size - 2) cell = size - 2;
    return (Position){cell, position - (float)cell};
}

static inline Neighbours find(const float *point, const int *sizes, int group, int rank) {
    int width = sizes[FIRST_AXIS[group]];
    Position first = locate(point[FIRST_AXIS[group]], width);
    Position second = locate(point[SECOND_AXIS[group]], sizes[SECOND_AXIS[group]]);
    Position line = locate(point[LINE_AXIS[group]], sizes[LINE_AXIS[group]]);
    size_t r = (size_t)rank, base = ((size_t)second.cell * (size_t)width + (size_t)first.cell) * r;
    size_t below = base + (size_t)width * r, start = (size_t)line.cell * r;
    float f = first.fraction, s = second.fraction;
    return (Neighbours){{base, base + r, below, below + r},
                        {start, start + r},
                        {(1.0f - f) * (1.0f - s), f * (1.0f - s), (1.0f - f) * s, f * s},
                        {1.0f - line.fraction, line.fraction}};
}

static inline Lanes at(const float *grid, size_t offset) { return *(const Lanes *)(grid + offset); }

static inline void add(float *grid, size_t offset, Lanes value) { *(Lanes *)(grid + offset) += value; }

static inline Lanes on_plane(const float *plane, const Neighbours *n) {
    return at(plane, n->plane[0]) * n->plane_weight[0] + at(plane, n->plane[1]) * n->plane_weight[1] +
           at(plane, n->plane[2]) * n->plane_weight[2] + at(plane, n->plane[3]) * n->plane_weight[3];
}

static inline Lanes on_line(const float *line, const Neighbours *n) {
    return at(line, n->line[0]) * n->line_weight[0] + at(line, n->line[1]) * n->line_weight[1];
}

static int width_of(const int *ranks) { return ranks[0] + ranks[1] + ranks[2]; }

/* grids: three planes, then three lines; sizes: cells along x y z. */
void vm_lookup_forward(const float *points, long count, const float *const *grids, const int *sizes, const int *ranks,
                       float *features, int threads) {
    int width = width_of(ranks);
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (long n = 0; n < count; n++) {
        float *out = features + n * width;
        for (int g = 0; g < GROUPS; out += ranks[g], g++) {
            Neighbours near = find(points + 3 * n, sizes, g, ranks[g]);
            for (int c = 0; c < ranks[g]; c += LANES)
                *(Lanes *)(out + c) = on_plane(grids[g] + c, &near) * on_line(grids[GROUPS + g] + c, &near);
        }
    }
}

/* gradients: six pointers for each thread, the grids' order; the caller sums over threads. */
void vm_lookup_backward(const float *points, long count, const float *const *grids, const int *sizes, const int *ranks,
                        const float *upstream, float *const *gradients, int threads) {
    int width = width_of(ranks);
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (int part = 0; part < threads; part++) {
        float *const *sums = gradients + (size_t)part * 2 * GROUPS;
        for (long n = count * part / threads; n < count * (part + 1) / threads; n++) {
            const float *in = upstream + n * width;
            for (int g = 0; g < GROUPS; in += ranks[g], g++) {
                Neighbours near = find(points + 3 * n, sizes, g, ranks[g]);
                for (int c = 0; c < ranks[g]; c += LANES) {
                    Lanes gradient = at(in, (size_t)c);
                    Lanes to_plane = gradient * on_line(grids[GROUPS + g] + c, &near);
                    Lanes to_line = gradient * on_plane(grids[g] + c, &near);
                    for (int k = 0; k < 4; k++) add(sums[g] + c, near.plane[k], to_plane * near.plane_weight[k]);
                    for (int k = 0; k < 2; k++) add(sums[GROUPS + g] + c, near.line[k], to_line * near.line_weight[k]);
                }
            }
        }
    }
}
