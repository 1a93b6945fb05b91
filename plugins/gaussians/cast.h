/* Loose rays: all Gaussians in frames of their own, eight rays at a time, near to far.
 *
 * Rays come in bundles that share their origin and moment. A cone around each Gaussian's direction tells at once that none
 * of eight rays touches it.
 */
#ifndef CAST_H
#define CAST_H

#include "draw.h"

typedef struct {
    int64_t bundles;
    const int32_t *moments;  /* [bundles] */
    const double *origins;   /* [bundles][3] */
    const int64_t *begin;    /* [bundles + 1], into rays */
    const float *directions, *near, *far; /* [R][3], [R], [R] */
} Rays;

/* What is seen from a bundle's origin, near to far. */
typedef struct {
    Carrier *carriers, *carrier_rates;
    float origin[3], remainder[3];
    int moment;
    int64_t count;
    int32_t *rows; /* the Gaussians */
    Askew *splats;
    SplatRate *rates;
} Surroundings;

static void release_surroundings(Surroundings *a) {
    free(a->carriers), free(a->carrier_rates), free(a->rows), free(a->splats), free(a->rates);
}

static Group some_rows(const int32_t *rows, int64_t count) {
    Group group = {.count = count < LANES ? (int)count : LANES};
    for (int lane = 0; lane < LANES; lane++) group.row[lane] = rows[lane < group.count ? lane : group.count - 1];
    return group;
}

static void look_from(const Scene *s, const Surroundings *a, const Group *group, Placed *p, Sight *o) {
    place(s, a->moment, a->carriers, group, p);
    look(s, group, p, a->origin, a->remainder, 0.0f, INFINITY, o);
    own_frame(o);
}

static Surroundings look_around(const Scene *s, const Rays *rays, int64_t bundle, int with_rates) {
    Surroundings a = {.moment = rays->moments[bundle]};
    size_t table = (size_t)s->rests * s->nodes;
    int64_t count = s->gaussians;
    for (int k = 0; k < 3; k++) {
        a.origin[k] = (float)rays->origins[3 * bundle + k];
        a.remainder[k] = (float)(rays->origins[3 * bundle + k] - (double)a.origin[k]);
    }
    a.carriers = room(table * sizeof(Carrier)), a.carrier_rates = with_rates ? room(table * sizeof(Carrier)) : NULL;
    fill_carriers(s, a.moment, a.carriers, a.carrier_rates);
    Askew *found = room((size_t)count * sizeof(Askew));
    float *distances = malloc((size_t)count * sizeof(float) + 1);
    uint64_t *keys = malloc((size_t)count * 2 * sizeof *keys + 1);
    for (int64_t i = 0; i < count; i += LANES) {
        Group group = group_of(i, count);
        Mask seen = fill_askew(s, a.moment, a.carriers, &group, a.origin, a.remainder, 0.0f, INFINITY, found + i);
        for (int lane = 0; lane < group.count; lane++) distances[i + lane] = seen[lane] ? found[i + lane].distance : -1.0f;
    }
    a.count = sort_by_distance(distances, count, keys);
    a.rows = malloc((size_t)a.count * sizeof *a.rows + 1), a.splats = room((size_t)a.count * sizeof(Askew));
    a.rates = with_rates ? room((size_t)(a.count + LANES) * sizeof(SplatRate)) : NULL;
    for (int64_t n = 0; n < a.count; n++) a.rows[n] = (int32_t)(uint32_t)keys[n], a.splats[n] = found[a.rows[n]];
    for (int64_t n = 0; n < a.count && with_rates; n += LANES) {
        Group group = some_rows(a.rows + n, a.count - n);
        Placed p;
        Sight o;
        Lanes mean[3], quaternion[4], opacity;
        look_from(s, &a, &group, &p, &o);
        place_rates(s, a.carriers, a.carrier_rates, &group, &p, mean, quaternion, &opacity);
        fill_rates(s, &p, &o, mean, quaternion, opacity, a.rates + n);
    }
    free(found), free(distances), free(keys);
    return a;
}

/* Eight rays through everything; sums [count][SUMS] are added to. */
static inline __attribute__((always_inline)) void cast_eight(const Surroundings *a, const Rays *rays, int64_t first,
                                                             int64_t end, Tile *t, const int pass, float *sums) {
    Group group = group_of(first, end);
    Lanes d[3], near, far;
    gather(rays->directions, 3, &group, d), gather(rays->near, 1, &group, &near), gather(rays->far, 1, &group, &far);
    for (int64_t n = 0; n < a->count; n++) {
        const Askew *askew = a->splats + n;
        if (n % 8 == 7 && !any(load(t->light) > 0.0f)) break;
        if (!any(dot_with(askew->axes[2], d) >= askew->cosine)) continue;
        Response r = respond_askew(askew, d);
        r.exponent = choose((near <= askew->distance) & (far >= askew->distance), r.exponent, all(-100.0f));
        if (pass == DRAW) draw_row(&askew->splat, &r, t, 0, 1);
        if (pass == RATES) rate_row(&askew->splat, a->rates + n, &r, t, 0);
        if (pass == BACKWARD && any(r.exponent >= LOG2_FAINTEST)) {
            Sums own = {0};
            Lanes lanes[SUMS] = {0};
            float found[SUMS];
            backward_row(&askew->splat, &r, t, 0, 0.0f, 1, &own);
            gather_sums(&own, all(0.0f), 1, lanes);
            write_sums(lanes, found);
            for (int k = 0; k < SUMS; k++) sums[n * SUMS + k] += found[k];
        }
    }
}

/* From a bundle's sums to gradients. */
static void bundle_slopes(const Scene *s, const Surroundings *a, const float *sums, Gradients *out) {
    size_t table = (size_t)s->rests * s->nodes;
    Carrier *slopes = room(table * sizeof(Carrier));
    memset(slopes, 0, table * sizeof(Carrier));
    for (int64_t n = 0; n < a->count; n += LANES) {
        Group group = some_rows(a->rows + n, a->count - n);
        Placed p;
        Sight o;
        Lanes mean[3], quaternion[4], log_scales[3], harmonics[48], added[SUMS];
        for (int lane = 0; lane < LANES; lane++) {
            int64_t row = n + (lane < group.count ? lane : group.count - 1);
            memcpy(added + lane, sums + row * SUMS, sizeof *added);
            memcpy(added + LANES + lane, sums + row * SUMS + LANES, sizeof *added);
        }
        transpose(added), transpose(added + LANES);
        look_from(s, a, &group, &p, &o);
        sight_slopes(s, &p, &o, added, mean, quaternion, log_scales, harmonics);
        scatter(out->log_scales, 3, &group, log_scales), scatter(out->colours, 3 * s->harmonics, &group, harmonics);
        place_slopes(s, a->carriers, &group, &p, mean, quaternion, added[11], slopes, out, out->times + a->moment);
    }
    if (table) carrier_slopes(s, a->moment, a->carriers, slopes, out);
    free(slopes);
}

#endif
