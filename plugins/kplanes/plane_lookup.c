/* Products of bilinear samples from six planes, at several scales, forward and backward (K-Planes, equations 1 and 2).
 *
 * Layout: a plane is [second axis][first axis][channels] float. Planes come scale by scale in the order xy xz yz xt yt zt;
 * sizes are [scales][4]: cells along x y z t. Coordinates are [points][4] floats x y z t in [-1, 1], clamped to the
 * border, corners aligned. Features are [points][scales * channels]; channels is a multiple of LANES.
 *
 * Channels are worked on in vectors of the compiler's own (gcc and clang, any processor), so that all six samples of a
 * point and their partial products stay in registers.
 */
#include <stddef.h>

#define PLANES 6
#define LANES 8
#define INLINE static inline __attribute__((always_inline))

/* Along which axes gradients are wanted: a recording's points stand still, only their times are learned. */
enum { NO_AXIS, TIME, ALL_AXES };

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static const int FIRST_AXIS[PLANES] = {0, 0, 1, 0, 1, 2};
static const int SECOND_AXIS[PLANES] = {1, 2, 2, 3, 3, 3};

typedef struct {
    int cell;       /* index of the lower neighbour */
    float fraction; /* distance from it, in cells */
    float slope;    /* cells per unit of the coordinate; zero where it is clamped */
} Position;

typedef struct {
    size_t offset[4]; /* corners at (first, second) = 00, 10, 01, 11, as offsets into the plane */
    float weight[4];
} Corners;

static inline Position locate(float coordinate, int size) {
    float position = (coordinate + 1.0f) * 0.5f * (float)(size - 1);
    float slope = 0.5f * (float)(size - 1);
    if (!(position > 0.0f)) { position = 0.0f; slope = 0.0f; } /* NaN lands here too */
    if (position > (float)(size - 1)) { position = (float)(size - 1); slope = 0.0f; }
    int cell = (int)position;
    if (cell > size - 2) cell = size - 2;
    return (Position){cell, position - (float)cell, slope};
}

static inline Corners find_corners(Position first, Position second, int first_size, int channels) {
    size_t base = ((size_t)second.cell * (size_t)first_size + (size_t)first.cell) * (size_t)channels;
    size_t below = base + (size_t)first_size * (size_t)channels;
    float f = first.fraction, s = second.fraction;
    return (Corners){{base, base + (size_t)channels, below, below + (size_t)channels},
                     {(1.0f - f) * (1.0f - s), f * (1.0f - s), (1.0f - f) * s, f * s}};
}

static inline void find_all(const float *point, const int *size, int channels, Position *positions, Corners *corners) {
    for (int axis = 0; axis < 4; axis++) positions[axis] = locate(point[axis], size[axis]);
    for (int p = 0; p < PLANES; p++)
        corners[p] = find_corners(positions[FIRST_AXIS[p]], positions[SECOND_AXIS[p]], size[FIRST_AXIS[p]], channels);
}

static inline Lanes at(const float *plane, size_t offset) { return *(const Lanes *)(plane + offset); }

static inline Lanes sample(const float *plane, const Corners *corners) {
    return at(plane, corners->offset[0]) * corners->weight[0] + at(plane, corners->offset[1]) * corners->weight[1] +
           at(plane, corners->offset[2]) * corners->weight[2] + at(plane, corners->offset[3]) * corners->weight[3];
}

static inline void scatter(float *plane, const Corners *corners, Lanes gradient) {
    for (int k = 0; k < 4; k++) *(Lanes *)(plane + corners->offset[k]) += gradient * corners->weight[k];
}

static void forward_points(const float *coordinates, long begin, long end, const float *const *planes, const int *sizes,
                           int scales, int channels, float *features) {
    for (long n = begin; n < end; n++) {
        for (int s = 0; s < scales; s++) {
            const float *const *group = planes + s * PLANES;
            Position positions[4];
            Corners corners[PLANES];
            find_all(coordinates + 4 * n, sizes + 4 * s, channels, positions, corners);
            for (int c = 0; c < channels; c += LANES) {
                Lanes product = sample(group[0] + c, &corners[0]);
                for (int p = 1; p < PLANES; p++) product *= sample(group[p] + c, &corners[p]);
                *(Lanes *)(features + (n * scales + s) * channels + c) = product;
            }
        }
    }
}

/* Adds to slopes[axis] what plane p's sample gives: its slope along its axes times the gradient of the sample. */
INLINE void add_slopes(int axes, int p, const float *plane, const Corners *corners, const Position *positions,
                       Lanes gradient, Lanes *slopes) {
    int first = FIRST_AXIS[p], second = SECOND_AXIS[p];
    if (axes == TIME && second != 3) return;
    Lanes v0 = at(plane, corners->offset[0]), v1 = at(plane, corners->offset[1]);
    Lanes v2 = at(plane, corners->offset[2]), v3 = at(plane, corners->offset[3]);
    float f = positions[first].fraction, s = positions[second].fraction;
    slopes[second] += gradient * ((v2 - v0) * (1.0f - f) + (v3 - v1) * f) * positions[second].slope;
    if (axes == ALL_AXES)
        slopes[first] += gradient * ((v1 - v0) * (1.0f - s) + (v3 - v2) * s) * positions[first].slope;
}

INLINE void backward_points(int axes, const float *coordinates, long begin, long end, const float *const *planes,
                            const int *sizes, int scales, int channels, const float *upstream,
                            float *const *plane_gradients, float *coordinate_gradients) {
    for (long n = begin; n < end; n++) {
        Lanes slopes[4] = {{0.0f}, {0.0f}, {0.0f}, {0.0f}};
        for (int s = 0; s < scales; s++) {
            const float *const *group = planes + s * PLANES;
            Position positions[4];
            Corners corners[PLANES];
            find_all(coordinates + 4 * n, sizes + 4 * s, channels, positions, corners);
            for (int c = 0; c < channels; c += LANES) {
                Lanes values[PLANES], after[PLANES];
                for (int p = 0; p < PLANES; p++) values[p] = sample(group[p] + c, &corners[p]);
                after[PLANES - 1] = *(const Lanes *)(upstream + (n * scales + s) * channels + c);
                for (int p = PLANES - 2; p >= 0; p--) after[p] = after[p + 1] * values[p + 1];
                Lanes before = (Lanes){0.0f} + 1.0f;
                for (int p = 0; p < PLANES; p++) {
                    Lanes gradient = before * after[p];
                    before *= values[p];
                    if (axes != NO_AXIS) add_slopes(axes, p, group[p] + c, &corners[p], positions, gradient, slopes);
                    if (plane_gradients) scatter(plane_gradients[s * PLANES + p] + c, &corners[p], gradient);
                }
            }
        }
        if (axes != NO_AXIS)
            for (int axis = axes == TIME ? 3 : 0; axis < 4; axis++) {
                float sum = 0.0f;
                for (int k = 0; k < LANES; k++) sum += slopes[axis][k];
                coordinate_gradients[4 * n + axis] = sum;
            }
    }
}

void plane_lookup_forward(const float *coordinates, long points, const float *const *planes, const int *sizes, int scales,
                          int channels, float *features, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (int part = 0; part < threads; part++)
        forward_points(coordinates, points * part / threads, points * (part + 1) / threads, planes, sizes, scales, channels,
                       features);
}

/* plane_gradients: one pointer per thread and plane; the caller sums over threads. coordinate_gradients: zeroed by the
 * caller, and left so but along time where `times_alone`. Either output may be null. */
void plane_lookup_backward(const float *coordinates, long points, const float *const *planes, const int *sizes, int scales,
                           int channels, const float *upstream, float *const *plane_gradients,
                           float *coordinate_gradients, int times_alone, int threads) {
    #define BACKWARD(AXES)                                                                                           \
        backward_points(AXES, coordinates, points * part / threads, points * (part + 1) / threads, planes, sizes,    \
                        scales, channels, upstream,                                                                  \
                        plane_gradients ? plane_gradients + (size_t)part * (size_t)(scales * PLANES) : NULL,         \
                        coordinate_gradients)
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (int part = 0; part < threads; part++) {
        if (!coordinate_gradients) BACKWARD(NO_AXIS);
        else if (times_alone) BACKWARD(TIME);
        else BACKWARD(ALL_AXES);
    }
}
