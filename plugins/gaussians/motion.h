/* Where Gaussians are at a moment: skinning, drift and window, their gradients and their derivatives by time.
 *
 * The formulas are those of motion.py, regrouped: a node's motion since a moment of rest is one affine map of twelve
 * numbers and a quaternion, computed once for all Gaussians that it carries. Sixteen numbers are two vectors, so that a
 * Gaussian's four nodes are blended, and their slopes added, without any gathering.
 */
#ifndef MOTION_H
#define MOTION_H

#include "scene.h"

#define TURN 0
#define OFFSET 9
#define QUATERNION 12
#define NUMBERS 16

/* A node's motion from its pose at a moment of rest to that at the moment drawn: x -> turn x + offset. */
typedef struct {
    Lanes half[2];
} Carrier;

typedef struct {
    Lanes mean[3], quaternion[4], length; /* the quaternion has length 1, its own has `length` */
    Lanes opacity, whole;                 /* at the moment, and without the window */
    Lanes since, beyond, fade, velocity[3]; /* time since the middle of its life, and past the plateau */
    Lanes own_mean[3], own[4];            /* at rest; the quaternion of length 1 */
    Lanes carried[NUMBERS], blend[4], blend_length;
} Placed;

/* Eight nodes at a time between arrays and tables: lane by lane to node by node. */
static inline void store_carriers(Lanes *numbers, Carrier *table, int count) {
    transpose(numbers), transpose(numbers + LANES);
    for (int lane = 0; lane < count; lane++)
        table[lane].half[0] = numbers[lane], table[lane].half[1] = numbers[LANES + lane];
}

static inline void load_carriers(const Carrier *table, int count, Lanes *numbers) {
    for (int lane = 0; lane < LANES; lane++) {
        const Carrier *c = table + (lane < count ? lane : count - 1);
        numbers[lane] = c->half[0], numbers[LANES + lane] = c->half[1];
    }
    transpose(numbers), transpose(numbers + LANES);
}

/* Rows first, first + 1, ... of an array, no more than `end`. */
static inline Group group_of(int64_t first, int64_t end) {
    Group group = {.count = end - first < LANES ? (int)(end - first) : LANES};
    for (int lane = 0; lane < LANES; lane++) group.row[lane] = first + (lane < group.count ? lane : group.count - 1);
    return group;
}

/* The carriers [J][M] of a moment, and their derivatives by time where `rates` is not null. */
static void fill_carriers(const Scene *s, int moment, Carrier *table, Carrier *rates) {
    for (int64_t j = 0; j < s->rests; j++)
        for (int64_t m = 0; m < s->nodes; m += LANES) {
            Group rest = group_of(j * s->nodes + m, (j + 1) * s->nodes);
            Group now = group_of(moment * (int64_t)s->nodes + m, (moment + 1) * (int64_t)s->nodes);
            Lanes turn[4], back[4], place[3], centre[3], numbers[NUMBERS], change[NUMBERS];
            gather(s->turns, 4, &now, turn), gather(s->positions, 3, &now, place);
            gather(s->rest_quaternions, 4, &rest, back), gather(s->rest_positions, 3, &rest, centre);
            product_inverse(turn, back, numbers + QUATERNION);
            rotation(numbers + QUATERNION, numbers + TURN);
            apply(numbers + TURN, centre, numbers + OFFSET);
            for (int k = 0; k < 3; k++) numbers[OFFSET + k] = place[k] - numbers[OFFSET + k];
            if (rates) {
                gather(s->turn_rates, 4, &now, turn), gather(s->position_rates, 3, &now, place);
                product_inverse(turn, back, change + QUATERNION);
                rotation_rate(numbers + QUATERNION, change + QUATERNION, change + TURN);
                apply(change + TURN, centre, change + OFFSET);
                for (int k = 0; k < 3; k++) change[OFFSET + k] = place[k] - change[OFFSET + k];
                store_carriers(change, rates + rest.row[0], rest.count);
            }
            store_carriers(numbers, table + rest.row[0], rest.count);
        }
}

/* From the slopes by carriers to those by the nodes' poses, added. */
static void carrier_slopes(const Scene *s, int moment, const Carrier *table, const Carrier *slopes, Gradients *out) {
    for (int64_t j = 0; j < s->rests; j++)
        for (int64_t m = 0; m < s->nodes; m += LANES) {
            Group rest = group_of(j * s->nodes + m, (j + 1) * s->nodes);
            Group now = group_of(moment * (int64_t)s->nodes + m, (moment + 1) * (int64_t)s->nodes);
            Lanes turn[4], back[4], centre[3], numbers[NUMBERS], slope[NUMBERS], quaternion[4], part[4];
            load_carriers(table + rest.row[0], rest.count, numbers);
            load_carriers(slopes + rest.row[0], rest.count, slope);
            gather(s->turns, 4, &now, turn);
            gather(s->rest_quaternions, 4, &rest, back), gather(s->rest_positions, 3, &rest, centre);
            add_outer(slope + TURN, slope + OFFSET, centre, all(-1.0f));
            rotation_slope(numbers + QUATERNION, slope + TURN, quaternion);
            for (int k = 0; k < 4; k++) quaternion[k] += slope[QUATERNION + k];
            scatter(out->positions, 3, &now, slope + OFFSET);
            apply_transposed(numbers + TURN, slope + OFFSET, part);
            for (int k = 0; k < 3; k++) part[k] = -part[k];
            scatter(out->rest_positions, 3, &rest, part);
            product(quaternion, back, part);
            scatter(out->turns, 4, &now, part);
            inverse_product(quaternion, turn, part);
            scatter(out->rest_quaternions, 4, &rest, part);
        }
}

static inline size_t carrier_index(const Scene *s, int64_t i, int k) {
    return (size_t)s->rest_rows[i] * (size_t)s->nodes + (size_t)s->carriers[4 * i + k];
}

/* Of the k-th node: 1, or -1 for the quaternion's four numbers where it lies on the other side than the first one's. */
static inline Lanes sides(const Carrier *first, const Carrier *other) {
    Lanes p = first->half[1] * other->half[1];
    float side = p[4] + p[5] + p[6] + p[7] < 0.0f ? -1.0f : 1.0f;
    return (Lanes){1, 1, 1, 1, side, side, side, side};
}

/* Carriers of each lane's Gaussian, blended; the identity for one that rests. `sided` is the table that tells sides. */
static inline void blend_carriers(const Scene *s, const Carrier *table, const Carrier *sided, int at_rest,
                                  const Group *group, Lanes *out) {
    for (int lane = 0; lane < LANES; lane++) {
        int64_t i = group->row[lane];
        Lanes low = {at_rest, 0, 0, 0, at_rest, 0, 0, 0}, high = {at_rest, 0, 0, 0, at_rest, 0, 0, 0};
        if (s->carriers[4 * i] >= 0) {
            const Carrier *first = sided + carrier_index(s, i, 0);
            low = high = all(0.0f);
            for (int k = 0; k < 4; k++) {
                size_t index = carrier_index(s, i, k);
                float weight = s->weights[4 * i + k];
                low += weight * table[index].half[0];
                high += weight * table[index].half[1] * sides(first, sided + index);
            }
        }
        out[lane] = low, out[LANES + lane] = high;
    }
    transpose(out), transpose(out + LANES);
}

/* Where Gaussians are; the lanes whose numbers are sound. */
static inline Mask place(const Scene *s, int moment, const Carrier *table, const Group *group, Placed *p) {
    Lanes logit;
    gather(s->means, 3, group, p->own_mean), gather(s->quaternions, 4, group, p->own);
    gather(s->logits, 1, group, &logit);
    p->length = root(dot4(p->own, p->own));
    for (int k = 0; k < 4; k++) p->quaternion[k] = p->own[k] = p->own[k] / p->length;
    for (int k = 0; k < 3; k++) p->mean[k] = p->own_mean[k];
    if (s->carriers) {
        blend_carriers(s, table, table, 1, group, p->carried);
        apply(p->carried + TURN, p->own_mean, p->mean);
        add_scaled(p->mean, p->carried + OFFSET, all(1.0f));
        p->blend_length = root(dot4(p->carried + QUATERNION, p->carried + QUATERNION));
        for (int k = 0; k < 4; k++) p->blend[k] = p->carried[QUATERNION + k] / p->blend_length;
        product(p->blend, p->own, p->quaternion);
    }
    p->opacity = p->whole = 1.0f / (1.0f + exponential(-logit));
    if (s->velocities) {
        Lanes plateau;
        gather(s->velocities, 3, group, p->velocity);
        gather(s->plateaus, 1, group, &plateau), gather(s->fades, 1, group, &p->fade);
        for (int lane = 0; lane < LANES; lane++)
            p->since[lane] = (float)(s->times[moment] - (double)s->centres[group->row[lane]]);
        p->beyond = larger(magnitude(p->since) - plateau, all(0.0f));
        add_scaled(p->mean, p->velocity, p->since);
        Lanes ratio = p->beyond / p->fade;
        p->opacity *= exponential(-0.5f * ratio * ratio);
    }
    return is_finite(dot(p->mean, p->mean) + dot4(p->quaternion, p->quaternion) + p->opacity);
}

static inline Lanes with_sign_of(Lanes size, Lanes sign) { return (Lanes)((Mask)size | ((Mask)sign & INT32_MIN)); }

/* Derivatives by time of the place: of the centre, of the quaternion, and of the opacity's logarithm. */
static inline void place_rates(const Scene *s, const Carrier *table, const Carrier *rates, const Group *group,
                               const Placed *p, Lanes *mean, Lanes *quaternion, Lanes *opacity) {
    *opacity = mean[0] = mean[1] = mean[2] = all(0.0f);
    for (int k = 0; k < 4; k++) quaternion[k] = all(0.0f);
    if (s->carriers) {
        Lanes change[NUMBERS], slope[4];
        blend_carriers(s, rates, table, 0, group, change);
        apply(change + TURN, p->own_mean, mean);
        add_scaled(mean, change + OFFSET, all(1.0f));
        through_length(p->blend, p->blend_length, change + QUATERNION, slope);
        product(slope, p->own, quaternion);
    }
    if (s->velocities) {
        add_scaled(mean, p->velocity, all(1.0f));
        *opacity = -with_sign_of(p->beyond / (p->fade * p->fade), p->since);
    }
}

/* Adds the slopes by each lane's blended carrier to those of its four carriers and by their weights. */
static inline void spread_slopes(const Scene *s, const Carrier *table, const Group *group, Lanes *by_blend,
                                 Carrier *slopes, Gradients *out) {
    transpose(by_blend), transpose(by_blend + LANES);
    for (int lane = 0; lane < group->count; lane++) {
        int64_t i = group->row[lane];
        if (s->carriers[4 * i] < 0) continue;
        size_t first = carrier_index(s, i, 0);
        for (int k = 0; k < 4; k++) {
            size_t index = carrier_index(s, i, k);
            const Carrier *c = table + index;
            Lanes low = by_blend[lane], high = by_blend[LANES + lane] * sides(table + first, c);
            float weight = s->weights[4 * i + k];
            out->weights[4 * i + k] += total(low * c->half[0] + high * c->half[1]);
            slopes[index].half[0] += weight * low;
            slopes[index].half[1] += weight * high;
        }
    }
}

/* From the slopes by the place to those by what it is made of; a carrier's are added to `slopes` [J][M].
 * opacity: the slope by the opacity's logarithm. */
static inline void place_slopes(const Scene *s, const Carrier *table, const Group *group, const Placed *p,
                                const Lanes *mean, const Lanes *quaternion, Lanes opacity, Carrier *slopes,
                                Gradients *out, double *time) {
    Lanes own[4] = {quaternion[0], quaternion[1], quaternion[2], quaternion[3]};
    Lanes at_rest[3] = {mean[0], mean[1], mean[2]}, slope[4];
    if (s->carriers) {
        Lanes by_blend[NUMBERS] = {0};
        inverse_product(p->blend, quaternion, own);
        product_inverse(quaternion, p->own, slope);
        through_length(p->blend, p->blend_length, slope, by_blend + QUATERNION);
        apply_transposed(p->carried + TURN, mean, at_rest);
        add_outer(by_blend + TURN, mean, p->own_mean, all(1.0f));
        for (int k = 0; k < 3; k++) by_blend[OFFSET + k] = mean[k];
        spread_slopes(s, table, group, by_blend, slopes, out);
    }
    scatter(out->means, 3, group, at_rest);
    through_length(p->own, p->length, own, slope);
    scatter(out->quaternions, 4, group, slope);
    slope[0] = opacity * (1.0f - p->whole);
    scatter(out->logits, 1, group, slope);
    if (s->velocities) {
        Lanes ratio = p->beyond / p->fade, fall = ratio / p->fade, drift[3];
        Lanes since = dot(mean, p->velocity) - opacity * with_sign_of(fall, p->since);
        for (int k = 0; k < 3; k++) drift[k] = mean[k] * p->since;
        slope[0] = -since, slope[1] = opacity * fall, slope[2] = opacity * ratio * fall;
        scatter(out->velocities, 3, group, drift);
        scatter(out->centres, 1, group, slope), scatter(out->plateaus, 1, group, slope + 1);
        scatter(out->fades, 1, group, slope + 2);
        for (int lane = 0; lane < group->count; lane++) *time += since[lane];
    }
}

#endif
