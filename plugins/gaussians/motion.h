/* Where Gaussians are at a moment: skinning, drift and window, their gradients and their derivatives by time.
 *
 * The formulas are those of motion.py, regrouped: a node's motion since a moment of rest is one affine map, computed once
 * for all Gaussians that it carries.
 */
#ifndef MOTION_H
#define MOTION_H

#include "scene.h"

/* A node's motion from its pose at a moment of rest to that at the moment drawn: x -> turn x + offset. */
typedef struct {
    float turn[9], offset[3], quaternion[4];
} Carrier;

typedef struct {
    float mean[3], quaternion[4], length; /* the quaternion has length 1, its own has `length` */
    float opacity, whole;                 /* at the moment, and without the window */
    float since, beyond, fade;            /* time since the middle of its life, and past the plateau */
    int carried;
    const Carrier *carriers[4];
    float weights[4], signs[4], turn[9], blend[4], blend_length, own[4]; /* own: its quaternion at rest, length 1 */
} Placed;

static inline const Carrier *carrier(const Scene *s, const Carrier *table, int64_t i, int k) {
    return table + (size_t)s->rest_rows[i] * (size_t)s->nodes + (size_t)s->carriers[4 * i + k];
}

/* The carriers [J][M] of a moment. */
static void fill_carriers(const Scene *s, int moment, Carrier *table) {
    for (int j = 0; j < s->rests; j++)
        for (int m = 0; m < s->nodes; m++) {
            Carrier *c = table + (size_t)j * s->nodes + m;
            size_t now = (size_t)moment * s->nodes + m, rest = (size_t)j * s->nodes + m;
            product_inverse(s->turns + 4 * now, s->rest_quaternions + 4 * rest, c->quaternion);
            rotation(c->quaternion, c->turn);
            apply(c->turn, s->rest_positions + 3 * rest, c->offset);
            for (int k = 0; k < 3; k++) c->offset[k] = s->positions[3 * now + k] - c->offset[k];
        }
}

/* Their derivatives by time. */
static void fill_carrier_rates(const Scene *s, int moment, const Carrier *table, Carrier *rates) {
    for (int j = 0; j < s->rests; j++)
        for (int m = 0; m < s->nodes; m++) {
            size_t at = (size_t)j * s->nodes + m, now = (size_t)moment * s->nodes + m;
            Carrier *c = rates + at;
            product_inverse(s->turn_rates + 4 * now, s->rest_quaternions + 4 * at, c->quaternion);
            rotation_rate(table[at].quaternion, c->quaternion, c->turn);
            apply(c->turn, s->rest_positions + 3 * at, c->offset);
            for (int k = 0; k < 3; k++) c->offset[k] = s->position_rates[3 * now + k] - c->offset[k];
        }
}

/* From the slopes by carriers to those by the nodes' poses, added. */
static void carrier_slopes(const Scene *s, int moment, const Carrier *table, const Carrier *slopes, Gradients *out) {
    for (int j = 0; j < s->rests; j++)
        for (int m = 0; m < s->nodes; m++) {
            size_t rest = (size_t)j * s->nodes + m, now = (size_t)moment * s->nodes + m;
            float turn[9], quaternion[4], slope[4];
            memcpy(turn, slopes[rest].turn, sizeof turn);
            add_outer(turn, slopes[rest].offset, s->rest_positions + 3 * rest, -1.0f);
            rotation_slope(table[rest].quaternion, turn, quaternion);
            for (int k = 0; k < 4; k++) quaternion[k] += slopes[rest].quaternion[k];
            float moved[3];
            apply_transposed(table[rest].turn, slopes[rest].offset, moved);
            for (int k = 0; k < 3; k++) {
                out->positions[3 * now + k] += slopes[rest].offset[k];
                out->rest_positions[3 * rest + k] -= moved[k];
            }
            product(quaternion, s->rest_quaternions + 4 * rest, slope);
            for (int k = 0; k < 4; k++) out->turns[4 * now + k] += slope[k];
            inverse_product(quaternion, s->turns + 4 * now, slope);
            for (int k = 0; k < 4; k++) out->rest_quaternions[4 * rest + k] += slope[k];
        }
}

/* Where a Gaussian is; false where its numbers are not sound. */
static inline int place(const Scene *s, int moment, const Carrier *table, int64_t i, Placed *p) {
    const float *own = s->quaternions + 4 * i, *mean = s->means + 3 * i;
    p->length = sqrtf(dot4(own, own));
    for (int k = 0; k < 4; k++) p->quaternion[k] = p->own[k] = own[k] / p->length;
    memcpy(p->mean, mean, sizeof p->mean);
    p->carried = s->carriers && s->carriers[4 * i] >= 0;
    if (p->carried) {
        float offset[3] = {0}, blend[4] = {0};
        memset(p->turn, 0, sizeof p->turn);
        for (int k = 0; k < 4; k++) {
            const Carrier *c = p->carriers[k] = carrier(s, table, i, k);
            float weight = p->weights[k] = s->weights[4 * i + k];
            p->signs[k] = dot4(c->quaternion, p->carriers[0]->quaternion) < 0.0f ? -1.0f : 1.0f;
            for (int n = 0; n < 9; n++) p->turn[n] += weight * c->turn[n];
            for (int n = 0; n < 3; n++) offset[n] += weight * c->offset[n];
            for (int n = 0; n < 4; n++) blend[n] += weight * p->signs[k] * c->quaternion[n];
        }
        apply(p->turn, mean, p->mean);
        add_scaled(p->mean, offset, 1.0f);
        p->blend_length = sqrtf(dot4(blend, blend));
        for (int n = 0; n < 4; n++) p->blend[n] = blend[n] / p->blend_length;
        product(p->blend, p->own, p->quaternion);
    }
    p->opacity = p->whole = 1.0f / (1.0f + expf(-s->logits[i]));
    if (s->velocities) {
        p->since = (float)(s->times[moment] - (double)s->centres[i]);
        p->beyond = fmaxf(fabsf(p->since) - s->plateaus[i], 0.0f);
        p->fade = s->fades[i];
        add_scaled(p->mean, s->velocities + 3 * i, p->since);
        p->opacity *= expf(-0.5f * (p->beyond / p->fade) * (p->beyond / p->fade));
    }
    float sum = dot(p->mean, p->mean) + dot4(p->quaternion, p->quaternion) + p->opacity;
    return sum - sum == 0.0f; /* neither infinite nor no number */
}

/* Derivatives by time of the place: of the centre, of the quaternion, and of the opacity's logarithm. */
static inline void place_rates(const Scene *s, const Carrier *table, const Carrier *rates, int64_t i, const Placed *p,
                               float *mean, float *quaternion, float *opacity) {
    memset(mean, 0, 3 * sizeof(float));
    memset(quaternion, 0, 4 * sizeof(float));
    *opacity = 0.0f;
    if (p->carried) {
        float turn[9] = {0}, blend[4] = {0}, slope[4];
        for (int k = 0; k < 4; k++) {
            const Carrier *c = rates + (p->carriers[k] - table);
            for (int n = 0; n < 9; n++) turn[n] += p->weights[k] * c->turn[n];
            for (int n = 0; n < 4; n++) blend[n] += p->weights[k] * p->signs[k] * c->quaternion[n];
        }
        apply(turn, s->means + 3 * i, mean);
        for (int k = 0; k < 4; k++) add_scaled(mean, rates[p->carriers[k] - table].offset, p->weights[k]);
        through_length(p->blend, p->blend_length, blend, slope);
        product(slope, p->own, quaternion);
    }
    if (s->velocities) {
        add_scaled(mean, s->velocities + 3 * i, 1.0f);
        *opacity = -copysignf(p->beyond, p->since) / (p->fade * p->fade);
    }
}

/* From the slopes by the place to those by what it is made of; a carrier's are added to `slopes` [J][M].
 * opacity: the slope by the opacity's logarithm. */
static inline void place_slopes(const Scene *s, const Carrier *table, int64_t i, const Placed *p, const float *mean,
                                const float *quaternion, float opacity, Carrier *slopes, Gradients *out, double *time) {
    float own[4];
    memcpy(own, quaternion, sizeof own);
    float at_rest[3] = {mean[0], mean[1], mean[2]};
    if (p->carried) {
        float blend[4], slope[4];
        inverse_product(p->blend, quaternion, own);
        product_inverse(quaternion, p->own, slope);
        through_length(p->blend, p->blend_length, slope, blend);
        apply_transposed(p->turn, mean, at_rest);
        for (int k = 0; k < 4; k++) {
            const Carrier *c = p->carriers[k];
            Carrier *sum = slopes + (c - table);
            float moved[3];
            apply(c->turn, s->means + 3 * i, moved);
            out->weights[4 * i + k] +=
                dot(mean, moved) + dot(mean, c->offset) + p->signs[k] * dot4(blend, c->quaternion);
            add_outer(sum->turn, mean, s->means + 3 * i, p->weights[k]);
            add_scaled(sum->offset, mean, p->weights[k]);
            for (int n = 0; n < 4; n++) sum->quaternion[n] += p->weights[k] * p->signs[k] * blend[n];
        }
    }
    add_scaled(out->means + 3 * i, at_rest, 1.0f);
    float slope[4];
    through_length(p->own, p->length, own, slope);
    for (int k = 0; k < 4; k++) out->quaternions[4 * i + k] += slope[k];
    out->logits[i] += opacity * (1.0f - p->whole);
    if (s->velocities) {
        float ratio = p->beyond / p->fade, fall = ratio / p->fade;
        float since = dot(mean, s->velocities + 3 * i) - opacity * copysignf(fall, p->since);
        add_scaled(out->velocities + 3 * i, mean, p->since);
        out->centres[i] -= since;
        out->plateaus[i] += opacity * fall;
        out->fades[i] += opacity * ratio * fall;
        *time += since;
    }
}

#endif
