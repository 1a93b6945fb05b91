/* Tiles of 8 by 8 pixels, a row of pixels per vector: pictures, their derivatives by time, their gradients, and what each
 * Gaussian has to do with them. Every pass goes near to far through a tile's list.
 */
#ifndef DRAW_H
#define DRAW_H

#include "lists.h"

#define FINISHED 1e-4f
#define LOG2_DENSEST -0.01449956969f /* of 0.99 */
#define HALF_LOG2_E 0.7213475204f

enum { DRAW, RATES, BACKWARD, INFLUENCE };

/* What a splat is for the columns of a tile. */
typedef struct {
    Lanes dx, l, constant, linear; /* l0 dx; the denominator without and with one factor of dy */
} Columns;

/* A splat's response to a row of pixels; inverse: 1 / denominator. */
typedef struct {
    Lanes dx, dy, inverse, square, exponent, along; /* along: only of askew splats, of the direction to the mean */
} Response;

static inline Columns columns_of(const Splat *s, Lanes dx) {
    return (Columns){dx, dx * s->l[0], 1.0f + dx * (2.0f * s->e + dx * s->g), 2.0f * s->f + 2.0f * s->h * dx};
}

static inline Response respond(const Splat *s, const Columns *c, float dy) {
    Lanes first = c->l + s->l[1] * dy;
    float second = s->l[2] * dy;
    Lanes denominator = larger(c->constant + (c->linear + s->i * dy) * dy, all(1e-6f));
    Lanes inverse = 1.0f / denominator, square = (first * first + second * second) * inverse;
    return (Response){c->dx, all(dy), inverse, square, s->log2_opacity - HALF_LOG2_E * square, all(1.0f)};
}

/* The same for any eight directions; nothing where the mean's side of the line lies behind. */
static inline Response respond_askew(const Askew *a, const Lanes *d) {
    const Splat *s = &a->splat;
    Lanes along = d[0] * a->axes[2][0] + d[1] * a->axes[2][1] + d[2] * a->axes[2][2];
    Lanes dx = (d[0] * a->axes[0][0] + d[1] * a->axes[0][1] + d[2] * a->axes[0][2]) / along;
    Lanes dy = (d[0] * a->axes[1][0] + d[1] * a->axes[1][1] + d[2] * a->axes[1][2]) / along;
    Lanes first = dx * s->l[0] + dy * s->l[1], second = dy * s->l[2];
    Lanes denominator = 1.0f + dx * (2.0f * s->e + dx * s->g) + dy * (2.0f * s->f + 2.0f * s->h * dx + s->i * dy);
    Lanes inverse = 1.0f / larger(denominator, all(1e-6f)), square = (first * first + second * second) * inverse;
    Lanes exponent = s->log2_opacity - HALF_LOG2_E * square;
    Mask before = (1.0f + s->e * dx + s->f * dy) * along > 0.0f;
    return (Response){dx, dy, inverse, square, choose(before, exponent, all(-100.0f)), along};
}

static inline Lanes visible_alpha(Mask visible, Lanes exponent) {
    return keep(visible, power_of_two(smaller(exponent, all(LOG2_DENSEST))));
}

/* The light that is left after an opacity; none where it is next to none. */
static inline Lanes dimmed(Lanes light, Lanes weight) {
    Lanes left = light - weight;
    return keep(left >= FINISHED, left);
}

/* One tile on its way through its list. What a pass does not use stays untouched. */
typedef struct {
    Lanes light[TILE], colour[TILE][3], depth[TILE];
    Lanes light_rate[TILE], colour_rate[TILE][3];
    Lanes upstream[TILE][4], behind[TILE]; /* slopes by the row's pixels; what the light behind is worth to the loss */
    Lanes errors[TILE];
} Tile;

/* The sums of SUMS numbers over a splat's pixels in a tile, see sight_slopes. */
typedef struct {
    Lanes n[3], d[3], opacity, colour[3]; /* by powers of dy, or summed already where dy differs along a row */
    Lanes mixed[6];
} Sums;

static inline void draw_row(const Splat *s, const Response *r, Tile *t, int row, int with_depth) {
    Mask visible = r->exponent >= LOG2_FAINTEST;
    if (!any(visible)) return;
    Lanes weight = visible_alpha(visible, r->exponent) * t->light[row];
    for (int c = 0; c < 3; c++) t->colour[row][c] += weight * s->colour[c];
    if (with_depth) {
        Lanes depth = (1.0f + s->e * r->dx + s->f * r->dy) * s->depth * r->inverse / r->along;
        t->depth[row] += keep(visible, weight * depth);
    }
    t->light[row] = dimmed(t->light[row], weight);
}

static inline void rate_row(const Splat *s, const SplatRate *q, const Response *r, Tile *t, int row) {
    Mask visible = r->exponent >= LOG2_FAINTEST;
    if (!any(visible)) return;
    Lanes alpha = visible_alpha(visible, r->exponent), light = t->light[row], dx = r->dx, dy = r->dy;
    const float *n = q->numerator, *d = q->denominator;
    Lanes numerator = dx * (n[3] + n[0] * dx + n[1] * dy) + dy * (n[4] + n[2] * dy);
    Lanes denominator = d[5] + dx * (d[3] + d[0] * dx + d[1] * dy) + dy * (d[4] + d[2] * dy);
    Lanes square = (numerator - r->square * denominator) * r->inverse;
    Lanes rate = keep(visible & (r->exponent < LOG2_DENSEST), alpha * (q->opacity - 0.5f * square));
    Lanes weight = alpha * light, change = rate * light + alpha * t->light_rate[row];
    for (int c = 0; c < 3; c++) {
        t->colour[row][c] += weight * s->colour[c];
        t->colour_rate[row][c] += change * s->colour[c] + weight * q->colour[c];
    }
    Lanes left = dimmed(light, weight);
    t->light_rate[row] = keep(left > 0.0f, t->light_rate[row] - change);
    t->light[row] = left;
}

static inline void backward_row(const Splat *s, const Response *r, Tile *t, int row, float dy, int askew, Sums *sums) {
    Mask visible = r->exponent >= LOG2_FAINTEST;
    if (!any(visible)) return;
    Lanes alpha = visible_alpha(visible, r->exponent), light = t->light[row];
    const Lanes *g = t->upstream[row];
    Lanes worth = g[0] * s->colour[0] + g[1] * s->colour[1] + g[2] * s->colour[2] + g[3];
    Lanes weight = alpha * light;
    Lanes behind = t->behind[row] - weight * worth;
    Lanes slope = light * worth - behind / (1.0f - alpha);
    slope = keep(r->exponent < LOG2_DENSEST, alpha * slope);
    Lanes by_square = keep(visible, slope * -0.5f * r->inverse), by_both = keep(visible, by_square * r->square);
    if (askew) {
        Lanes dx = keep(visible, r->dx), dys = keep(visible, r->dy);
        const Lanes first = by_square * dx, second = by_square * dys;
        sums->mixed[0] += first, sums->mixed[1] += second, sums->mixed[2] += first * dx;
        sums->mixed[3] += first * dys, sums->mixed[4] += second * dys;
        const Lanes third = by_both * dx, fourth = by_both * dys;
        sums->n[0] += third, sums->n[1] += fourth, sums->n[2] += third * dx;
        sums->d[0] += by_both, sums->d[1] += third * dys, sums->d[2] += fourth * dys;
    } else {
        sums->n[0] += by_square, sums->d[0] += by_both;
        by_square *= dy, by_both *= dy;
        sums->n[1] += by_square, sums->d[1] += by_both;
        sums->n[2] += by_square * dy, sums->d[2] += by_both * dy;
    }
    sums->opacity += slope;
    for (int c = 0; c < 3; c++) sums->colour[c] += weight * g[c];
    t->behind[row] = behind;
    t->light[row] = dimmed(light, weight);
}

static inline void influence_row(const Response *r, Tile *t, int row, Lanes *weights, Lanes *errors) {
    Mask visible = r->exponent >= LOG2_FAINTEST;
    if (!any(visible)) return;
    Lanes weight = visible_alpha(visible, r->exponent) * t->light[row];
    *weights += weight;
    *errors += weight * t->errors[row];
    t->light[row] = dimmed(t->light[row], weight);
}

/* Sums of eight vectors, each over its lanes. */
static inline Lanes sum_each(const Lanes *v) {
    Lanes pairs[4], quads[2];
    const Mask even = {0, 8, 2, 10, 4, 12, 6, 14}, odd = {1, 9, 3, 11, 5, 13, 7, 15};
    const Mask low = {0, 1, 8, 9, 4, 5, 12, 13}, high = {2, 3, 10, 11, 6, 7, 14, 15};
    for (int k = 0; k < 4; k++)
        pairs[k] = __builtin_shuffle(v[2 * k], v[2 * k + 1], even) + __builtin_shuffle(v[2 * k], v[2 * k + 1], odd);
    for (int k = 0; k < 2; k++)
        quads[k] = __builtin_shuffle(pairs[2 * k], pairs[2 * k + 1], low) +
                   __builtin_shuffle(pairs[2 * k], pairs[2 * k + 1], high);
    return __builtin_shuffle(quads[0], quads[1], (Mask){0, 1, 2, 3, 8, 9, 10, 11}) +
           __builtin_shuffle(quads[0], quads[1], (Mask){4, 5, 6, 7, 12, 13, 14, 15});
}

static inline void write_sums(const Sums *s, Lanes dx, int askew, float *out) {
    Lanes first[8], second[8];
    if (askew) {
        for (int k = 0; k < 5; k++) first[k] = s->mixed[k];
        first[5] = s->d[0], first[6] = s->n[0], first[7] = s->n[1];
        second[0] = s->n[2], second[1] = s->d[1], second[2] = s->d[2];
    } else {
        first[0] = s->n[0] * dx, first[1] = s->n[1], first[2] = first[0] * dx, first[3] = s->n[1] * dx, first[4] = s->n[2];
        first[5] = s->d[0], first[6] = s->d[0] * dx, first[7] = s->d[1];
        second[0] = first[6] * dx, second[1] = s->d[1] * dx, second[2] = s->d[2];
    }
    second[3] = s->opacity;
    for (int c = 0; c < 3; c++) second[4 + c] = s->colour[c];
    second[7] = all(0.0f);
    Lanes sums[2] = {sum_each(first), sum_each(second)};
    memcpy(out, sums, sizeof sums);
}

/* A whole list through a tile. `pass` is a constant where this is inlined. `rates` [V][N] and `sums` [slots][SUMS] (or
 * [slots][2]) belong to the passes that name them. */
static inline __attribute__((always_inline)) void walk(const Work *w, int view, int64_t tile, Tile *t, const int pass,
                                                       const int with_depth, const SplatRate *rates, float *sums) {
    const Camera *camera = w->cameras + view;
    int64_t first = view * w->scene.gaussians, index = camera->first_tile + tile;
    const Splat *splats = w->splats + first;
    int left = (int)(tile % camera->columns) * TILE, top = (int)(tile / camera->columns) * TILE;
    const Lanes x = (Lanes){0, 1, 2, 3, 4, 5, 6, 7} + ((float)left + 0.5f);
    const Entry *entry = w->entries + w->tile_begin[index], *end = w->entries + w->tile_begin[index + 1];
    const int size = pass == BACKWARD ? SUMS : 2;
    for (int64_t walked = 0; entry < end; entry++, walked++) {
        if (walked % 8 == 7) {
            Lanes most = t->light[0];
            for (int row = 1; row < TILE; row++) most = larger(most, t->light[row]);
            if (!any(most > 0.0f)) break;
        }
        int32_t gaussian = entry->splat < 0 ? ~entry->splat : entry->splat;
        const Splat *s = splats + gaussian;
        const Askew *askew = entry->splat < 0 ? w->askew[view] + w->boxes[first + gaussian].askew - 1 : NULL;
        if (entry + 4 < end) {
            int32_t ahead = entry[4].splat;
            __builtin_prefetch(splats + (ahead < 0 ? ~ahead : ahead));
            if (pass == BACKWARD) __builtin_prefetch(sums + (w->view_begin[view] + entry[4].slot) * size, 1);
        }
        int begin = s->top > top ? s->top - top : 0, stop = s->bottom - top + 1 < TILE ? s->bottom - top + 1 : TILE;
        const Columns columns = columns_of(s, x - s->u);
        const SplatRate *rate = pass == RATES ? rates + first + gaussian : NULL;
        Sums own = {0};
        Lanes weights = all(0.0f), errors = all(0.0f);
        for (int row = begin; row < stop; row++) {
            float y = (float)(top + row) + 0.5f, dy = y - s->v;
            Response r;
            if (__builtin_expect(askew != NULL, 0)) {
                Lanes d[3], px = x - camera->centre[0];
                for (int k = 0; k < 3; k++)
                    d[k] = px * camera->across[k] + (y - camera->centre[1]) * camera->down[k] - camera->back[k];
                r = respond_askew(askew, d);
                if (pass == DRAW) draw_row(&askew->splat, &r, t, row, with_depth);
                if (pass == RATES) rate_row(&askew->splat, rate, &r, t, row);
                if (pass == BACKWARD) backward_row(&askew->splat, &r, t, row, dy, 1, &own);
            } else {
                r = respond(s, &columns, dy);
                if (pass == DRAW) draw_row(s, &r, t, row, with_depth);
                if (pass == RATES) rate_row(s, rate, &r, t, row);
                if (pass == BACKWARD) backward_row(s, &r, t, row, dy, 0, &own);
            }
            if (pass == INFLUENCE) influence_row(&r, t, row, &weights, &errors);
        }
        if (pass != BACKWARD && pass != INFLUENCE) continue;
        float *out = sums + (w->view_begin[view] + entry->slot) * size;
        if (pass == BACKWARD) write_sums(&own, x - s->u, askew != NULL, out);
        if (pass == INFLUENCE) out[0] = total(weights), out[1] = total(errors);
    }
    if (pass == BACKWARD || pass == INFLUENCE)
        for (; entry < end; entry++) memset(sums + (w->view_begin[view] + entry->slot) * size, 0, (size_t)size * sizeof(float));
}

#endif
