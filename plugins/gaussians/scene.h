/* What the rasteriser's parts share: the scene as Python hands it over, vectors of eight numbers, small algebra.
 *
 * All arrays are float, row-major and contiguous unless said otherwise; pointers to what a scene does not have are null.
 * Quaternions are w x y z, matrices of nine numbers are row-major. Nothing here depends on the number of threads: work is
 * cut into PARTS whose results are added in order.
 */
#ifndef SCENE_H
#define SCENE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 8
#define TILE 8
#define PARTS 16
#define SUMS 16 /* numbers that a Gaussian's pixels add up for its gradient */
#define FINISHED 1e-4f
#define DENSEST 0.99f
#define LOG2_FAINTEST -7.994353437f /* of 1/255 */
#define LOG2_DENSEST -0.01449956969f
#define HALF_LOG2_E 0.7213475204f

typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t Mask __attribute__((vector_size(4 * LANES)));

/* N Gaussians, V moments, M nodes, J moments of rest; cameras are [V][CAMERA_NUMBERS] double. */
#define CAMERA_NUMBERS 20
typedef struct {
    int64_t gaussians;
    int32_t moments, nodes, rests, harmonics, threads;
    const float *means, *quaternions, *log_scales, *logits, *colours;
    const int32_t *carriers, *rest_rows;
    const float *weights;
    const float *rest_positions, *rest_quaternions, *positions, *turns, *position_rates, *turn_rates;
    const float *velocities, *centres, *plateaus, *fades;
    const double *times;
} Scene;

/* Gradients of the same arrays, null where the scene has none; they are added to. That of times is double. */
typedef struct {
    float *means, *quaternions, *log_scales, *logits, *colours;
    float *weights, *rest_positions, *rest_quaternions, *positions, *turns;
    float *velocities, *centres, *plateaus, *fades;
    double *times;
} Gradients;

static inline int64_t part_begin(int64_t count, int part) { return count * part / PARTS; }

static inline Lanes all(float value) { return (Lanes){0.0f} + value; }
static inline Lanes keep(Mask mask, Lanes value) { return (Lanes)(mask & (Mask)value); }
static inline Lanes choose(Mask mask, Lanes yes, Lanes no) { return (Lanes)((mask & (Mask)yes) | (~mask & (Mask)no)); }

#ifdef __AVX__
static inline int any(Mask mask) { return __builtin_ia32_movmskps256((Lanes)mask) != 0; }
static inline Lanes smaller(Lanes a, Lanes b) { return __builtin_ia32_minps256(a, b); }
static inline Lanes larger(Lanes a, Lanes b) { return __builtin_ia32_maxps256(a, b); }
#else
static inline int any(Mask mask) {
    union { Mask lanes; int64_t pairs[LANES / 2]; } bits = {mask};
    return (bits.pairs[0] | bits.pairs[1] | bits.pairs[2] | bits.pairs[3]) != 0;
}
static inline Lanes smaller(Lanes a, Lanes b) { return choose(a < b, a, b); }
static inline Lanes larger(Lanes a, Lanes b) { return choose(a > b, a, b); }
#endif

static inline float total(Lanes value) {
    return ((value[0] + value[4]) + (value[2] + value[6])) + ((value[1] + value[5]) + (value[3] + value[7]));
}

/* 2 to the power of numbers in [-100, 0], to 2e-7 of itself. */
static inline Lanes power_of_two(Lanes exponent) {
    Mask whole = __builtin_convertvector(exponent, Mask);
    Lanes rest = exponent - __builtin_convertvector(whole, Lanes);
    Lanes value = rest * 0.0009449000f + 0.0092058003f;
    value = value * rest + 0.0552973600f;
    value = value * rest + 0.2401801400f;
    value = value * rest + 0.6931437200f;
    value = value * rest + 1.0f;
    return (Lanes)((Mask)value + (whole << 23));
}

static inline float dot(const float *a, const float *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static inline void add_scaled(float *sum, const float *a, float factor) {
    for (int k = 0; k < 3; k++) sum[k] += factor * a[k];
}

static inline void cross(const float *a, const float *b, float *out) {
    float x = a[1] * b[2] - a[2] * b[1], y = a[2] * b[0] - a[0] * b[2], z = a[0] * b[1] - a[1] * b[0];
    out[0] = x, out[1] = y, out[2] = z;
}

static inline void apply(const float *matrix, const float *vector, float *out) {
    float x = dot(matrix, vector), y = dot(matrix + 3, vector), z = dot(matrix + 6, vector);
    out[0] = x, out[1] = y, out[2] = z;
}

static inline void apply_transposed(const float *matrix, const float *vector, float *out) {
    float x = matrix[0] * vector[0] + matrix[3] * vector[1] + matrix[6] * vector[2];
    float y = matrix[1] * vector[0] + matrix[4] * vector[1] + matrix[7] * vector[2];
    float z = matrix[2] * vector[0] + matrix[5] * vector[1] + matrix[8] * vector[2];
    out[0] = x, out[1] = y, out[2] = z;
}

/* matrix += factor * column row^T */
static inline void add_outer(float *matrix, const float *column, const float *row, float factor) {
    for (int j = 0; j < 3; j++)
        for (int k = 0; k < 3; k++) matrix[3 * j + k] += factor * column[j] * row[k];
}

/* Quaternions: a followed after b, with either of the two turned back. */
static inline void product(const float *a, const float *b, float *out) {
    float w = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3];
    float x = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2];
    float y = a[0] * b[2] + a[2] * b[0] + a[3] * b[1] - a[1] * b[3];
    float z = a[0] * b[3] + a[3] * b[0] + a[1] * b[2] - a[2] * b[1];
    out[0] = w, out[1] = x, out[2] = y, out[3] = z;
}

static inline void product_inverse(const float *a, const float *b, float *out) {
    const float back[4] = {b[0], -b[1], -b[2], -b[3]};
    product(a, back, out);
}

static inline void inverse_product(const float *a, const float *b, float *out) {
    const float back[4] = {a[0], -a[1], -a[2], -a[3]};
    product(back, b, out);
}

static inline float dot4(const float *a, const float *b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
}

/* The slope through a normalisation: from that of the unit vector to that of the vector of some length. */
static inline void through_length(const float *unit, float length, const float *slope, float *out) {
    float along = dot4(unit, slope);
    for (int k = 0; k < 4; k++) out[k] = (slope[k] - along * unit[k]) / length;
}

static inline void rotation(const float *q, float *out) {
    float w = q[0], x = q[1], y = q[2], z = q[3];
    out[0] = 1 - 2 * (y * y + z * z), out[1] = 2 * (x * y - w * z), out[2] = 2 * (x * z + w * y);
    out[3] = 2 * (x * y + w * z), out[4] = 1 - 2 * (x * x + z * z), out[5] = 2 * (y * z - w * x);
    out[6] = 2 * (x * z - w * y), out[7] = 2 * (y * z + w * x), out[8] = 1 - 2 * (x * x + y * y);
}

/* How the rotation matrix of a quaternion changes as the quaternion does. */
static inline void rotation_rate(const float *q, const float *d, float *out) {
    float w = q[0], x = q[1], y = q[2], z = q[3], dw = d[0], dx = d[1], dy = d[2], dz = d[3];
    float xy = dx * y + x * dy, xz = dx * z + x * dz, yz = dy * z + y * dz;
    float wx = dw * x + w * dx, wy = dw * y + w * dy, wz = dw * z + w * dz;
    float xx = 2 * x * dx, yy = 2 * y * dy, zz = 2 * z * dz;
    out[0] = -2 * (yy + zz), out[1] = 2 * (xy - wz), out[2] = 2 * (xz + wy);
    out[3] = 2 * (xy + wz), out[4] = -2 * (xx + zz), out[5] = 2 * (yz - wx);
    out[6] = 2 * (xz - wy), out[7] = 2 * (yz + wx), out[8] = -2 * (xx + yy);
}

/* From the slope by a rotation matrix to that by its quaternion. */
static inline void rotation_slope(const float *q, const float *g, float *out) {
    float w = q[0], x = q[1], y = q[2], z = q[3];
    out[0] = 2 * (z * (g[3] - g[1]) + y * (g[2] - g[6]) + x * (g[7] - g[5]));
    out[1] = 2 * (y * (g[1] + g[3]) + z * (g[2] + g[6]) + w * (g[7] - g[5]) - 2 * x * (g[4] + g[8]));
    out[2] = 2 * (x * (g[1] + g[3]) + z * (g[5] + g[7]) + w * (g[2] - g[6]) - 2 * y * (g[0] + g[8]));
    out[3] = 2 * (x * (g[2] + g[6]) + y * (g[5] + g[7]) + w * (g[3] - g[1]) - 2 * z * (g[0] + g[4]));
}

#endif
