/* Vectors of eight numbers: choices, functions, and matrices of three or quaternions whose entries are such vectors.
 *
 * Quaternions are w x y z, matrices of nine numbers are row-major.
 */
#ifndef LANES_H
#define LANES_H

#include <math.h>
#include <stdint.h>

#define LANES 8
#define LOG2_E 1.442695041f
#define LN_2 0.6931471806f

typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t Mask __attribute__((vector_size(4 * LANES)));
typedef double Doubles __attribute__((vector_size(8 * LANES)));

static inline Lanes all(float value) { return (Lanes){0.0f} + value; }
static inline Lanes keep(Mask mask, Lanes value) { return (Lanes)(mask & (Mask)value); }
static inline Lanes choose(Mask mask, Lanes yes, Lanes no) { return (Lanes)((mask & (Mask)yes) | (~mask & (Mask)no)); }
static inline Lanes magnitude(Lanes value) { return (Lanes)((Mask)value & 0x7fffffff); }
static inline Mask is_finite(Lanes value) { return value - value == 0.0f; }

#ifdef __AVX__
static inline int any(Mask mask) { return __builtin_ia32_movmskps256((Lanes)mask) != 0; }
static inline Lanes smaller(Lanes a, Lanes b) { return __builtin_ia32_minps256(a, b); }
static inline Lanes larger(Lanes a, Lanes b) { return __builtin_ia32_maxps256(a, b); }
static inline Lanes root(Lanes value) { return __builtin_ia32_sqrtps256(value); }
#else
static inline int any(Mask mask) {
    union { Mask lanes; int64_t pairs[LANES / 2]; } bits = {mask};
    return (bits.pairs[0] | bits.pairs[1] | bits.pairs[2] | bits.pairs[3]) != 0;
}
static inline Lanes smaller(Lanes a, Lanes b) { return choose(a < b, a, b); }
static inline Lanes larger(Lanes a, Lanes b) { return choose(a > b, a, b); }
static inline Lanes root(Lanes value) {
    for (int k = 0; k < LANES; k++) value[k] = sqrtf(value[k]);
    return value;
}
#endif

static inline float total(Lanes value) {
    return ((value[0] + value[4]) + (value[2] + value[6])) + ((value[1] + value[5]) + (value[3] + value[7]));
}

/* 2 to the power of numbers in [-126, 0], to 2e-7 of itself. */
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

/* The exponential function; 0 and infinity beyond what 32 bits hold. */
static inline Lanes exponential(Lanes value) {
    /* e^-|v| = 2^-n e^-r with v's nearest n, where the product n ln 2 is taken off in two steps. */
    Lanes size = magnitude(value);
    Mask whole = __builtin_convertvector(size * LOG2_E, Mask);
    Lanes n = __builtin_convertvector(whole, Lanes);
    Lanes rest = (size - n * 0.693359375f) - n * -2.12194440e-4f;
    Lanes power = all(1.0f), term = all(1.0f);
    for (int k = 1; k < 10; k++) term = term * rest * (-1.0f / (float)k), power += term;
    power = (Lanes)((Mask)power - (whole << 23));
    power = choose(size < 87.0f, power, keep(value != value, value));
    return choose(value > 0.0f, 1.0f / power, power);
}

/* The binary logarithm of positive normal numbers. */
static inline Lanes binary_logarithm(Lanes value) {
    Mask bits = (Mask)value, exponent = (bits - 0x3f3504f3) >> 23; /* mantissas from root 1/2 to root 2 */
    Lanes mantissa = (Lanes)(bits - (exponent << 23));
    Lanes s = (mantissa - 1.0f) / (mantissa + 1.0f), q = s * s;
    Lanes series = 2.885390082f + q * (0.961796694f + q * (0.577078016f + q * (0.412198583f + q * 0.320598898f)));
    return __builtin_convertvector(exponent, Lanes) + s * series;
}

/* Eight vectors of eight numbers, rows become columns. */
static inline void transpose(Lanes *m) {
    Lanes a[8], b[8];
    const Mask low = {0, 8, 1, 9, 4, 12, 5, 13}, high = {2, 10, 3, 11, 6, 14, 7, 15};
    const Mask even = {0, 1, 8, 9, 4, 5, 12, 13}, odd = {2, 3, 10, 11, 6, 7, 14, 15};
    for (int k = 0; k < 4; k++) {
        a[2 * k] = __builtin_shuffle(m[2 * k], m[2 * k + 1], low);
        a[2 * k + 1] = __builtin_shuffle(m[2 * k], m[2 * k + 1], high);
    }
    for (int k = 0; k < 2; k++)
        for (int j = 0; j < 2; j++) {
            b[4 * k + 2 * j] = __builtin_shuffle(a[4 * k + j], a[4 * k + 2 + j], even);
            b[4 * k + 2 * j + 1] = __builtin_shuffle(a[4 * k + j], a[4 * k + 2 + j], odd);
        }
    for (int k = 0; k < 4; k++) {
        m[k] = __builtin_shuffle(b[k], b[k + 4], (Mask){0, 1, 2, 3, 8, 9, 10, 11});
        m[k + 4] = __builtin_shuffle(b[k], b[k + 4], (Mask){4, 5, 6, 7, 12, 13, 14, 15});
    }
}

static inline Lanes dot(const Lanes *a, const Lanes *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

/* With one vector that is the same in all lanes. */
static inline Lanes dot_with(const float *a, const Lanes *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static inline void add_scaled(Lanes *sum, const Lanes *a, Lanes factor) {
    for (int k = 0; k < 3; k++) sum[k] += factor * a[k];
}

static inline void cross(const Lanes *a, const Lanes *b, Lanes *out) {
    Lanes x = a[1] * b[2] - a[2] * b[1], y = a[2] * b[0] - a[0] * b[2], z = a[0] * b[1] - a[1] * b[0];
    out[0] = x, out[1] = y, out[2] = z;
}

static inline void apply(const Lanes *matrix, const Lanes *vector, Lanes *out) {
    Lanes x = dot(matrix, vector), y = dot(matrix + 3, vector), z = dot(matrix + 6, vector);
    out[0] = x, out[1] = y, out[2] = z;
}

static inline void apply_transposed(const Lanes *matrix, const Lanes *vector, Lanes *out) {
    Lanes x = matrix[0] * vector[0] + matrix[3] * vector[1] + matrix[6] * vector[2];
    Lanes y = matrix[1] * vector[0] + matrix[4] * vector[1] + matrix[7] * vector[2];
    Lanes z = matrix[2] * vector[0] + matrix[5] * vector[1] + matrix[8] * vector[2];
    out[0] = x, out[1] = y, out[2] = z;
}

/* matrix += factor * column row^T */
static inline void add_outer(Lanes *matrix, const Lanes *column, const Lanes *row, Lanes factor) {
    for (int j = 0; j < 3; j++)
        for (int k = 0; k < 3; k++) matrix[3 * j + k] += factor * column[j] * row[k];
}

/* Quaternions: a followed after b, with either of the two turned back. */
static inline void product(const Lanes *a, const Lanes *b, Lanes *out) {
    Lanes w = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3];
    Lanes x = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2];
    Lanes y = a[0] * b[2] + a[2] * b[0] + a[3] * b[1] - a[1] * b[3];
    Lanes z = a[0] * b[3] + a[3] * b[0] + a[1] * b[2] - a[2] * b[1];
    out[0] = w, out[1] = x, out[2] = y, out[3] = z;
}

static inline void product_inverse(const Lanes *a, const Lanes *b, Lanes *out) {
    const Lanes back[4] = {b[0], -b[1], -b[2], -b[3]};
    product(a, back, out);
}

static inline void inverse_product(const Lanes *a, const Lanes *b, Lanes *out) {
    const Lanes back[4] = {a[0], -a[1], -a[2], -a[3]};
    product(back, b, out);
}

static inline Lanes dot4(const Lanes *a, const Lanes *b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
}

/* The slope through a normalisation: from that of the unit vector to that of the vector of some length. */
static inline void through_length(const Lanes *unit, Lanes length, const Lanes *slope, Lanes *out) {
    Lanes along = dot4(unit, slope);
    for (int k = 0; k < 4; k++) out[k] = (slope[k] - along * unit[k]) / length;
}

static inline void rotation(const Lanes *q, Lanes *out) {
    Lanes w = q[0], x = q[1], y = q[2], z = q[3];
    out[0] = 1 - 2 * (y * y + z * z), out[1] = 2 * (x * y - w * z), out[2] = 2 * (x * z + w * y);
    out[3] = 2 * (x * y + w * z), out[4] = 1 - 2 * (x * x + z * z), out[5] = 2 * (y * z - w * x);
    out[6] = 2 * (x * z - w * y), out[7] = 2 * (y * z + w * x), out[8] = 1 - 2 * (x * x + y * y);
}

/* How the rotation matrix of a quaternion changes as the quaternion does. */
static inline void rotation_rate(const Lanes *q, const Lanes *d, Lanes *out) {
    Lanes w = q[0], x = q[1], y = q[2], z = q[3], dw = d[0], dx = d[1], dy = d[2], dz = d[3];
    Lanes xy = dx * y + x * dy, xz = dx * z + x * dz, yz = dy * z + y * dz;
    Lanes wx = dw * x + w * dx, wy = dw * y + w * dy, wz = dw * z + w * dz;
    Lanes xx = 2 * x * dx, yy = 2 * y * dy, zz = 2 * z * dz;
    out[0] = -2 * (yy + zz), out[1] = 2 * (xy - wz), out[2] = 2 * (xz + wy);
    out[3] = 2 * (xy + wz), out[4] = -2 * (xx + zz), out[5] = 2 * (yz - wx);
    out[6] = 2 * (xz - wy), out[7] = 2 * (yz + wx), out[8] = -2 * (xx + yy);
}

/* From the slope by a rotation matrix to that by its quaternion. */
static inline void rotation_slope(const Lanes *q, const Lanes *g, Lanes *out) {
    Lanes w = q[0], x = q[1], y = q[2], z = q[3];
    out[0] = 2 * (z * (g[3] - g[1]) + y * (g[2] - g[6]) + x * (g[7] - g[5]));
    out[1] = 2 * (y * (g[1] + g[3]) + z * (g[2] + g[6]) + w * (g[7] - g[5]) - 2 * x * (g[4] + g[8]));
    out[2] = 2 * (x * (g[1] + g[3]) + z * (g[5] + g[7]) + w * (g[2] - g[6]) - 2 * y * (g[0] + g[8]));
    out[3] = 2 * (x * (g[2] + g[6]) + y * (g[5] + g[7]) + w * (g[3] - g[1]) - 2 * z * (g[0] + g[4]));
}

#endif
