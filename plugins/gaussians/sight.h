/* A Gaussian as it is seen from a place: its response to rays as a quotient of two quadratics, and back.
 *
 * With M = diag(1 / s) R^T and x = M (origin - mean), a ray along d answers |x cross M d|^2 / |M d|^2 (reference.py). In a
 * frame of three axes A, d is A (dx, dy, 1): dx, dy are pixels from where the mean is seen, or slopes from the ray through
 * it. The third axis points at the mean, where x cross M A_3 = 0, so that nothing cancels near it. Axes are constants in
 * all derivatives: the response does not depend on them. C = scale * M A, B = x cross C, and the scale makes |C_3| = 1.
 */
#ifndef SIGHT_H
#define SIGHT_H

#include "colour.h"
#include "motion.h"

typedef struct {
    double position[3];
    float right[3], up[3], back[3], across[3], down[3]; /* the last two: change of direction per pixel */
    float focal[2], centre[2], near, far;
    int width, height, columns, rows; /* pixels, tiles */
    int64_t first_pixel, first_tile;
} Camera;

typedef struct {
    float away[3], direction[3], distance, reach; /* from the origin to the mean; |x|^2 */
    float inverse[3], whiten[9], origin[3];       /* 1 / s, M, x */
    float axes[3][3], scale, c[3][3], b[2][3];
} Sight;

/* What a ray's response is computed from: D^2 = ((l0 dx + l1 dy)^2 + (l2 dy)^2) / (1 + 2 e dx + 2 f dy + g dx^2 + 2 h dx
 * dy + i dy^2), at the depth (1 + e dx + f dy) / denominator times `depth`. */
typedef struct {
    float u, v, log2_opacity, colour[3];
    float l[3], e, f, g, h, i, depth;
    int32_t left, right, top, bottom; /* pixels that may be touched, ends included; right < left where there are none */
    int32_t slot;                     /* of its first tile's sums */
    int32_t askew;                    /* 1 + index of its Askew, or 0 */
} Splat;

/* A splat in a frame of its own: for loose rays, and for what reaches across the plane of a camera. */
typedef struct {
    float axes[3][3], cosine, distance; /* cosine to the axis below which no ray can touch it */
    Splat splat;
} Askew;

/* Derivatives by time: of the numerator by dx^2 dxdy dy^2 dx dy, of the denominator by these and 1. */
typedef struct {
    float numerator[5], denominator[6], opacity, colour[3];
} SplatRate;

/* Look at a Gaussian from a place; false where nothing of it can be seen from there. */
static inline int look(const Scene *s, int64_t i, const Placed *p, const double *from, float near, float far, Sight *o) {
    float turn[9];
    for (int k = 0; k < 3; k++) {
        o->away[k] = (float)((double)p->mean[k] - from[k]);
        o->inverse[k] = expf(-s->log_scales[3 * i + k]);
    }
    o->distance = sqrtf(dot(o->away, o->away));
    for (int k = 0; k < 3; k++) o->direction[k] = o->away[k] / o->distance;
    rotation(p->quaternion, turn);
    for (int k = 0; k < 3; k++)
        for (int j = 0; j < 3; j++) o->whiten[3 * k + j] = turn[3 * j + k] * o->inverse[k];
    apply(o->whiten, o->away, o->origin);
    for (int k = 0; k < 3; k++) o->origin[k] = -o->origin[k];
    o->reach = dot(o->origin, o->origin);
    float visible = 2.0f * logf(255.0f * p->opacity);
    return visible > 0.0f && o->reach > visible && o->reach < INFINITY && o->distance >= near && o->distance <= far;
}

/* Take up a frame whose third axis is away / depth. */
static inline void frame(Sight *o, const float *across, const float *down, float depth) {
    float length = sqrtf(o->reach);
    o->scale = depth / length;
    for (int k = 0; k < 3; k++) {
        o->axes[0][k] = across[k], o->axes[1][k] = down[k], o->axes[2][k] = o->away[k] / depth;
        o->c[2][k] = -o->origin[k] / length;
    }
    for (int j = 0; j < 2; j++) {
        apply(o->whiten, o->axes[j], o->c[j]);
        for (int k = 0; k < 3; k++) o->c[j][k] *= o->scale;
        cross(o->origin, o->c[j], o->b[j]);
    }
}

/* The frame of a picture; returns the depth along the camera's axis. */
static inline float picture_frame(Sight *o, const Camera *camera) {
    float depth = -dot(camera->back, o->away);
    frame(o, camera->across, camera->down, depth);
    return depth;
}

/* A frame about the direction to the mean. */
static inline void own_frame(Sight *o) {
    int least = 0;
    for (int k = 1; k < 3; k++)
        if (fabsf(o->direction[k]) < fabsf(o->direction[least])) least = k;
    float unit[3] = {0}, across[3], down[3];
    unit[least] = 1.0f;
    cross(unit, o->direction, across);
    float length = sqrtf(dot(across, across));
    for (int k = 0; k < 3; k++) across[k] /= length;
    cross(o->direction, across, down);
    frame(o, across, down, o->distance);
}

/* The smallest box around what is visible, in dx and dy: middle and half size; false where it has no bounds, or its
 * numbers are not sound. The visible part is where numerator - visible * denominator <= 0, a quadratic in dx, dy. */
static inline int bounds(const Sight *o, float visible, double *middle, double *half) {
    double q[6]; /* dx^2, dx dy, dy^2, dx, dy, 1 */
    const float (*b)[3] = o->b, (*c)[3] = o->c;
#define DOT(p, r) ((double)p[0] * r[0] + (double)p[1] * r[1] + (double)p[2] * r[2])
    q[0] = DOT(b[0], b[0]) - visible * DOT(c[0], c[0]), q[1] = DOT(b[0], b[1]) - visible * DOT(c[0], c[1]);
    q[2] = DOT(b[1], b[1]) - visible * DOT(c[1], c[1]), q[3] = -visible * DOT(c[0], c[2]);
    q[4] = -visible * DOT(c[1], c[2]), q[5] = -visible;
#undef DOT
    double determinant = q[0] * q[2] - q[1] * q[1];
    if (!(q[0] > 0.0 && q[2] > 0.0 && determinant > 0.0)) return 0;
    middle[0] = (q[1] * q[4] - q[2] * q[3]) / determinant, middle[1] = (q[1] * q[3] - q[0] * q[4]) / determinant;
    double depth = -(q[5] + q[3] * middle[0] + q[4] * middle[1]);
    half[0] = sqrt(q[2] * depth / determinant), half[1] = sqrt(q[0] * depth / determinant);
    return half[0] + half[1] < INFINITY;
}

/* The splat's numbers but for its box; false where they are not sound. */
static inline int fill_splat(const Scene *s, int64_t i, const Placed *p, const Sight *o, float depth, Splat *out) {
    const float (*b)[3] = o->b, (*c)[3] = o->c;
    float normal[3];
    cross(b[0], b[1], normal);
    out->l[0] = sqrtf(dot(b[0], b[0])), out->l[1] = dot(b[0], b[1]) / out->l[0];
    out->l[2] = sqrtf(dot(normal, normal)) / out->l[0];
    out->e = dot(c[0], c[2]), out->f = dot(c[1], c[2]);
    out->g = dot(c[0], c[0]), out->h = dot(c[0], c[1]), out->i = dot(c[1], c[1]);
    out->log2_opacity = log2f(p->opacity);
    out->depth = depth;
    find_colour(s, i, o->direction, out->colour);
    float sum = out->l[0] + fabsf(out->l[1]) + out->l[2] + out->g + out->i + out->colour[0] + out->colour[1] + out->colour[2];
    return sum - sum == 0.0f;
}

/* From the sums over a Gaussian's pixels to the slopes by mean, unit quaternion, logarithms of scales and of opacity, and
 * harmonics (added). The sums: of w/den times dx dy dx^2 dxdy dy^2, of w D^2/den times 1 and these, where w is the slope by
 * D^2; the slope by the opacity's logarithm; slopes by the colour. */
static inline void sight_slopes(const Scene *s, int64_t i, const Placed *p, const Sight *o, const float *colour,
                                const float *sums, float *mean, float *quaternion, float *log_scales, float *harmonics) {
    const float (*b)[3] = o->b, (*c)[3] = o->c, *n = sums, *d = sums + 5;
    const float by_b[3][2] = {{n[2], n[3]}, {n[3], n[4]}, {n[0], n[1]}};
    const float by_c[3][3] = {{d[3], d[4], d[1]}, {d[4], d[5], d[2]}, {d[1], d[2], d[0]}};
    float whiten[9] = {0}, origin[3] = {0}, turn[9], by_direction[3];
    for (int j = 0; j < 3; j++) {
        float of_b[3], of_c[3], part[3];
        for (int k = 0; k < 3; k++) {
            of_b[k] = 2.0f * (b[0][k] * by_b[j][0] + b[1][k] * by_b[j][1]);
            of_c[k] = -2.0f * (c[0][k] * by_c[j][0] + c[1][k] * by_c[j][1] + c[2][k] * by_c[j][2]);
        }
        cross(of_b, o->origin, part);
        add_scaled(of_c, part, 1.0f);
        cross(c[j], of_b, part);
        add_scaled(origin, part, 1.0f);
        add_outer(whiten, of_c, o->axes[j], o->scale);
    }
    add_outer(whiten, origin, o->away, -1.0f);
    apply_transposed(o->whiten, origin, mean);
    for (int k = 0; k < 3; k++) {
        mean[k] = -mean[k];
        log_scales[k] = -dot(whiten + 3 * k, o->whiten + 3 * k);
        for (int j = 0; j < 3; j++) turn[3 * j + k] = whiten[3 * k + j] * o->inverse[k];
    }
    rotation_slope(p->quaternion, turn, quaternion);
    colour_slopes(s, i, o->direction, colour, sums + 12, harmonics, by_direction);
    float along = dot(by_direction, o->direction);
    for (int k = 0; k < 3; k++) mean[k] += (by_direction[k] - along * o->direction[k]) / o->distance;
}

/* Derivatives of a splat by time from those of the mean, the unit quaternion and the opacity's logarithm. */
static inline void fill_rate(const Scene *s, int64_t i, const Placed *p, const Sight *o, const float *colour,
                             const float *mean, const float *quaternion, float opacity, SplatRate *out) {
    const float (*b)[3] = o->b, (*c)[3] = o->c;
    float turn[9], whiten[9], origin[3], moved[3], of_c[3][3], of_b[3][3], direction[3];
    rotation_rate(p->quaternion, quaternion, turn);
    for (int k = 0; k < 3; k++)
        for (int j = 0; j < 3; j++) whiten[3 * k + j] = turn[3 * j + k] * o->inverse[k];
    apply(whiten, o->away, origin);
    apply(o->whiten, mean, moved);
    for (int k = 0; k < 3; k++) origin[k] = -origin[k] - moved[k];
    for (int j = 0; j < 3; j++) {
        apply(whiten, o->axes[j], of_c[j]);
        for (int k = 0; k < 3; k++) of_c[j][k] *= o->scale;
        cross(origin, c[j], of_b[j]);
        cross(o->origin, of_c[j], moved);
        add_scaled(of_b[j], moved, 1.0f);
    }
    float *n = out->numerator, *d = out->denominator;
    n[0] = 2 * dot(b[0], of_b[0]), n[1] = 2 * (dot(b[0], of_b[1]) + dot(b[1], of_b[0])), n[2] = 2 * dot(b[1], of_b[1]);
    n[3] = 2 * dot(b[0], of_b[2]), n[4] = 2 * dot(b[1], of_b[2]);
    d[0] = 2 * dot(c[0], of_c[0]), d[1] = 2 * (dot(c[0], of_c[1]) + dot(c[1], of_c[0])), d[2] = 2 * dot(c[1], of_c[1]);
    d[3] = 2 * (dot(c[0], of_c[2]) + dot(c[2], of_c[0])), d[4] = 2 * (dot(c[1], of_c[2]) + dot(c[2], of_c[1]));
    d[5] = 2 * dot(c[2], of_c[2]);
    out->opacity = opacity;
    float along = dot(mean, o->direction);
    for (int k = 0; k < 3; k++) direction[k] = (mean[k] - along * o->direction[k]) / o->distance;
    colour_rate(s, i, o->direction, colour, direction, out->colour);
}

#endif
