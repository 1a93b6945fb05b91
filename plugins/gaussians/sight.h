/* Gaussians as they are seen from a place: their response to rays as a quotient of two quadratics, and back.
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

#define LOG2_FAINTEST -7.994353437f /* of 1/255: fainter is nothing */
#define SUMS 16 /* numbers that a Gaussian's pixels add up for its gradient */

typedef struct {
    float position[3], remainder[3];            /* in two parts: the world's origin may be far away */
    float right[3], up[3], back[3];
    float across[3], down[3];                   /* change of direction per pixel */
    float focal[2], centre[2], near, far;
    int width, height, columns, rows;           /* pixels, tiles */
    int64_t first_pixel, first_tile;
} Camera;

typedef struct {
    Lanes away[3], direction[3], distance, reach, visible; /* from the origin to the mean; |x|^2, and where it is faintest */
    Lanes inverse[3], whiten[9], origin[3];                /* 1 / s, M, x */
    Lanes axes[3][3], scale, c[3][3], b[2][3];
    Lanes harmonics[48], colour[3];
} Sight;

/* What a ray's response is computed from: D^2 = ((l0 dx + l1 dy)^2 + (l2 dy)^2) / (1 + 2 e dx + 2 f dy + g dx^2 + 2 h dx
 * dy + i dy^2), at the depth (1 + e dx + f dy) / denominator times `depth`. One line of cache. */
typedef struct {
    float u, v, log2_opacity, colour[3], l[3], e, f, g, h, i, depth;
    int16_t top, bottom; /* rows that may be touched, both included */
} Splat;

/* A splat in a frame of its own: for loose rays, and for what reaches across the plane of a camera. */
typedef struct {
    Splat splat;
    float axes[3][3], cosine, distance; /* cosine to the axis below which no ray can touch it */
} Askew;

/* Derivatives by time: of the numerator by dx^2 dxdy dy^2 dx dy, of the denominator by these and 1. */
typedef struct {
    float numerator[5], denominator[6], opacity, colour[3], unused;
} SplatRate;

/* Look at Gaussians from a place; the lanes of which something may be seen from there. */
static inline Mask look(const Scene *s, const Group *group, const Placed *p, const float *from, const float *remainder,
                        float near, float far, Sight *o) {
    Lanes turn[9], log_scales[3];
    gather(s->log_scales, 3, group, log_scales);
    for (int k = 0; k < 3; k++) {
        o->away[k] = (p->mean[k] - from[k]) - remainder[k];
        o->inverse[k] = exponential(-log_scales[k]);
    }
    o->distance = root(dot(o->away, o->away));
    for (int k = 0; k < 3; k++) o->direction[k] = o->away[k] / o->distance;
    rotation(p->quaternion, turn);
    for (int k = 0; k < 3; k++)
        for (int j = 0; j < 3; j++) o->whiten[3 * k + j] = turn[3 * j + k] * o->inverse[k];
    apply(o->whiten, o->away, o->origin);
    for (int k = 0; k < 3; k++) o->origin[k] = -o->origin[k];
    o->reach = dot(o->origin, o->origin);
    o->visible = 2.0f * LN_2 * (binary_logarithm(p->opacity) - LOG2_FAINTEST);
    gather(s->colours, 3 * s->harmonics, group, o->harmonics);
    find_colour(s, o->harmonics, o->direction, o->colour);
    return (p->opacity > 1.0f / 255.0f) & (o->reach > o->visible) & is_finite(o->reach + dot(o->colour, o->colour)) &
           (o->distance >= near) & (o->distance <= far);
}

/* Take up a frame whose third axis is away / depth. */
static inline void frame(Sight *o, const Lanes *across, const Lanes *down, Lanes depth) {
    Lanes length = root(o->reach);
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
static inline Lanes picture_frame(Sight *o, const Camera *camera) {
    Lanes depth = -dot_with(camera->back, o->away), across[3], down[3];
    for (int k = 0; k < 3; k++) across[k] = all(camera->across[k]), down[k] = all(camera->down[k]);
    frame(o, across, down, depth);
    return depth;
}

/* A frame about the direction to the mean. */
static inline void own_frame(Sight *o) {
    /* Across: perpendicular to the world's axis that is least along the direction. */
    Lanes x = magnitude(o->direction[0]), y = magnitude(o->direction[1]), z = magnitude(o->direction[2]);
    Mask first = (x <= y) & (x <= z), second = ~first & (y <= z);
    Lanes unit[3] = {keep(first, all(1.0f)), keep(second, all(1.0f)), keep(~(first | second), all(1.0f))};
    Lanes across[3], down[3];
    cross(unit, o->direction, across);
    Lanes length = root(dot(across, across));
    for (int k = 0; k < 3; k++) across[k] /= length;
    cross(o->direction, across, down);
    frame(o, across, down, o->distance);
}

static inline Doubles precise(Lanes value) { return __builtin_convertvector(value, Doubles); }

static inline Doubles precise_dot(const Lanes *a, const Lanes *b) {
    return precise(a[0]) * precise(b[0]) + precise(a[1]) * precise(b[1]) + precise(a[2]) * precise(b[2]);
}

/* The smallest box around what is visible, in dx and dy: middle and half size; the lanes in which it has bounds. The
 * visible part is where numerator - visible * denominator <= 0, a quadratic in dx, dy. */
static inline Mask bounds(const Sight *o, Lanes *middle, Lanes *half) {
    const Lanes (*b)[3] = o->b, (*c)[3] = o->c;
    Doubles visible = precise(o->visible);
    Doubles xx = precise_dot(b[0], b[0]) - visible * precise_dot(c[0], c[0]);
    Doubles xy = precise_dot(b[0], b[1]) - visible * precise_dot(c[0], c[1]);
    Doubles yy = precise_dot(b[1], b[1]) - visible * precise_dot(c[1], c[1]);
    Doubles x = -visible * precise_dot(c[0], c[2]), y = -visible * precise_dot(c[1], c[2]);
    Doubles determinant = xx * yy - xy * xy;
    Doubles at_x = (xy * y - yy * x) / determinant, at_y = (xy * x - xx * y) / determinant;
    Doubles depth = (visible - x * at_x - y * at_y) / determinant;
    middle[0] = __builtin_convertvector(at_x, Lanes), middle[1] = __builtin_convertvector(at_y, Lanes);
    half[0] = root(__builtin_convertvector(yy * depth, Lanes)), half[1] = root(__builtin_convertvector(xx * depth, Lanes));
    Mask positive = __builtin_convertvector((xx > 0.0) & (yy > 0.0) & (determinant > 0.0), Mask);
    return positive & is_finite(half[0] + half[1] + middle[0] + middle[1]);
}

/* Writes splats; the lanes whose numbers are sound. rows: of the first and the last row, in 16 bits each. */
static inline Mask fill_splats(const Placed *p, const Sight *o, Lanes u, Lanes v, Lanes depth, Mask rows, int stride,
                               int count, void *first) {
    const Lanes (*b)[3] = o->b, (*c)[3] = o->c;
    Lanes normal[3], low[LANES], high[LANES];
    cross(b[0], b[1], normal);
    low[0] = u, low[1] = v, low[2] = binary_logarithm(p->opacity);
    for (int k = 0; k < 3; k++) low[3 + k] = o->colour[k];
    low[6] = root(dot(b[0], b[0])), low[7] = dot(b[0], b[1]) / low[6];
    high[0] = root(dot(normal, normal)) / low[6];
    high[1] = dot(c[0], c[2]), high[2] = dot(c[1], c[2]);
    high[3] = dot(c[0], c[0]), high[4] = dot(c[0], c[1]), high[5] = dot(c[1], c[1]);
    high[6] = depth, high[7] = (Lanes)rows;
    Mask sound = is_finite(low[6] + magnitude(low[7]) + high[0] + high[3] + high[5]);
    transpose(low), transpose(high);
    for (int lane = 0; lane < count; lane++) {
        memcpy((char *)first + (size_t)lane * stride, low + lane, sizeof *low);
        memcpy((char *)first + (size_t)lane * stride + sizeof *low, high + lane, sizeof *high);
    }
    return sound;
}

/* From the sums over Gaussians' pixels to the slopes by mean, unit quaternion, logarithms of scales, and harmonics. The
 * sums: of w/den times dx dy dx^2 dxdy dy^2, of w D^2/den times 1 and these, where w is the slope by D^2; the slope by the
 * opacity's logarithm; slopes by the colour. */
static inline void sight_slopes(const Scene *s, const Placed *p, const Sight *o, const Lanes *sums, Lanes *mean,
                                Lanes *quaternion, Lanes *log_scales, Lanes *harmonics) {
    const Lanes (*b)[3] = o->b, (*c)[3] = o->c, *n = sums, *d = sums + 5;
    const Lanes by_b[3][2] = {{n[2], n[3]}, {n[3], n[4]}, {n[0], n[1]}};
    const Lanes by_c[3][3] = {{d[3], d[4], d[1]}, {d[4], d[5], d[2]}, {d[1], d[2], d[0]}};
    Lanes whiten[9] = {0}, origin[3] = {0}, turn[9], by_direction[3];
    for (int j = 0; j < 3; j++) {
        Lanes of_b[3], of_c[3], part[3];
        for (int k = 0; k < 3; k++) {
            of_b[k] = 2.0f * (b[0][k] * by_b[j][0] + b[1][k] * by_b[j][1]);
            of_c[k] = -2.0f * (c[0][k] * by_c[j][0] + c[1][k] * by_c[j][1] + c[2][k] * by_c[j][2]);
        }
        cross(of_b, o->origin, part);
        add_scaled(of_c, part, all(1.0f));
        cross(c[j], of_b, part);
        add_scaled(origin, part, all(1.0f));
        add_outer(whiten, of_c, o->axes[j], o->scale);
    }
    add_outer(whiten, origin, o->away, all(-1.0f));
    apply_transposed(o->whiten, origin, mean);
    for (int k = 0; k < 3; k++) {
        log_scales[k] = -dot(whiten + 3 * k, o->whiten + 3 * k);
        for (int j = 0; j < 3; j++) turn[3 * j + k] = whiten[3 * k + j] * o->inverse[k];
    }
    rotation_slope(p->quaternion, turn, quaternion);
    colour_slopes(s, o->harmonics, o->direction, o->colour, sums + 12, harmonics, by_direction);
    Lanes along = dot(by_direction, o->direction);
    for (int k = 0; k < 3; k++) mean[k] = (by_direction[k] - along * o->direction[k]) / o->distance - mean[k];
}

/* Derivatives of splats by time from those of the mean, the unit quaternion and the opacity's logarithm, [LANES]. */
static inline void fill_rates(const Scene *s, const Placed *p, const Sight *o, const Lanes *mean, const Lanes *quaternion,
                              Lanes opacity, SplatRate *out) {
    const Lanes (*b)[3] = o->b, (*c)[3] = o->c;
    Lanes turn[9], whiten[9], origin[3], moved[3], of_c[3][3], of_b[3][3], direction[3], n[2 * LANES] = {0};
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
        add_scaled(of_b[j], moved, all(1.0f));
    }
    n[0] = 2 * dot(b[0], of_b[0]), n[1] = 2 * (dot(b[0], of_b[1]) + dot(b[1], of_b[0])), n[2] = 2 * dot(b[1], of_b[1]);
    n[3] = 2 * dot(b[0], of_b[2]), n[4] = 2 * dot(b[1], of_b[2]);
    n[5] = 2 * dot(c[0], of_c[0]), n[6] = 2 * (dot(c[0], of_c[1]) + dot(c[1], of_c[0])), n[7] = 2 * dot(c[1], of_c[1]);
    n[8] = 2 * (dot(c[0], of_c[2]) + dot(c[2], of_c[0])), n[9] = 2 * (dot(c[1], of_c[2]) + dot(c[2], of_c[1]));
    n[10] = 2 * dot(c[2], of_c[2]), n[11] = opacity;
    Lanes along = dot(mean, o->direction);
    for (int k = 0; k < 3; k++) direction[k] = (mean[k] - along * o->direction[k]) / o->distance;
    colour_rate(s, o->harmonics, o->direction, o->colour, direction, n + 12);
    transpose(n), transpose(n + LANES);
    for (int lane = 0; lane < LANES; lane++) {
        memcpy(out + lane, n + lane, sizeof *n);
        memcpy((float *)(out + lane) + LANES, n + LANES + lane, sizeof *n);
    }
}

#endif
