/* Tiles, eight pixels of a row per vector: pictures, their derivatives by time, their gradients, and what each Gaussian has
 * to do with them. Every pass goes near to far through a tile's list.
 *
 * Vectors begin where a Gaussian's box does, so that small ones take one per row wherever they lie. A tile is as large as
 * its state fits the nearest cache.
 */
#ifndef DRAW_H
#define DRAW_H

#include "lists.h"

#define PITCH (TILE + LANES) /* vectors may begin at a row's last pixel: beyond it there is no light */
#define CELLS (TILE * PITCH)
#define FINISHED 1e-4f
#define LOG2_DENSEST -0.01449956969f /* of 0.99 */
#define HALF_LOG2_E 0.7213475204f

enum { DRAW, RATES, BACKWARD, INFLUENCE };

/* What a splat is for eight columns. */
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

/* One tile on its way through its list, planes of cells. What a pass does not use stays untouched. */
typedef struct {
    float light[CELLS], colour[3][CELLS], depth[CELLS];
    float light_rate[CELLS], colour_rate[3][CELLS];
    float upstream[4][CELLS], behind[CELLS]; /* slopes by the pixels; what the light behind is worth to the loss */
    float errors[CELLS];
} Tile;

typedef float Anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline Lanes load(const float *from) { return *(const Anywhere *)from; }
static inline void store(float *to, Lanes value) { *(Anywhere *)to = value; }
static inline void add(float *to, Lanes value) { store(to, load(to) + value); }

/* A splat's sums over eight columns, by powers of dy; or over dx and dy alike where dy differs along a row, see below. */
typedef struct {
    Lanes n[3], d[3], opacity, colour[3], mixed[5];
} Sums;

static inline void draw_row(const Splat *s, const Response *r, Tile *t, int at, int with_depth) {
    Mask visible = r->exponent >= LOG2_FAINTEST;
    if (!any(visible)) return;
    Lanes light = load(t->light + at), weight = visible_alpha(visible, r->exponent) * light;
    for (int c = 0; c < 3; c++) add(t->colour[c] + at, weight * s->colour[c]);
    if (with_depth) {
        Lanes depth = (1.0f + s->e * r->dx + s->f * r->dy) * s->depth * r->inverse / r->along;
        add(t->depth + at, keep(visible, weight * depth));
    }
    store(t->light + at, dimmed(light, weight));
}

static inline void rate_row(const Splat *s, const SplatRate *q, const Response *r, Tile *t, int at) {
    Mask visible = r->exponent >= LOG2_FAINTEST;
    if (!any(visible)) return;
    Lanes alpha = visible_alpha(visible, r->exponent), light = load(t->light + at), dx = r->dx, dy = r->dy;
    const float *n = q->numerator, *d = q->denominator;
    Lanes numerator = dx * (n[3] + n[0] * dx + n[1] * dy) + dy * (n[4] + n[2] * dy);
    Lanes denominator = d[5] + dx * (d[3] + d[0] * dx + d[1] * dy) + dy * (d[4] + d[2] * dy);
    Lanes square = (numerator - r->square * denominator) * r->inverse;
    Lanes rate = keep(visible & (r->exponent < LOG2_DENSEST), alpha * (q->opacity - 0.5f * square));
    Lanes weight = alpha * light, change = rate * light + alpha * load(t->light_rate + at);
    for (int c = 0; c < 3; c++) {
        add(t->colour[c] + at, weight * s->colour[c]);
        add(t->colour_rate[c] + at, change * s->colour[c] + weight * q->colour[c]);
    }
    Lanes left = dimmed(light, weight);
    store(t->light_rate + at, keep(left > 0.0f, load(t->light_rate + at) - change));
    store(t->light + at, left);
}

static inline void backward_row(const Splat *s, const Response *r, Tile *t, int at, float dy, int askew, Sums *sums) {
    Mask visible = r->exponent >= LOG2_FAINTEST;
    if (!any(visible)) return;
    Lanes alpha = visible_alpha(visible, r->exponent), light = load(t->light + at);
    const Lanes g[4] = {load(t->upstream[0] + at), load(t->upstream[1] + at), load(t->upstream[2] + at), load(t->upstream[3] + at)};
    Lanes worth = g[0] * s->colour[0] + g[1] * s->colour[1] + g[2] * s->colour[2] + g[3];
    Lanes weight = alpha * light;
    Lanes behind = load(t->behind + at) - weight * worth;
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
    store(t->behind + at, behind);
    store(t->light + at, dimmed(light, weight));
}

static inline void influence_row(const Response *r, Tile *t, int at, Lanes *weights, Lanes *errors) {
    Mask visible = r->exponent >= LOG2_FAINTEST;
    if (!any(visible)) return;
    Lanes light = load(t->light + at), weight = visible_alpha(visible, r->exponent) * light;
    *weights += weight;
    *errors += weight * load(t->errors + at);
    store(t->light + at, dimmed(light, weight));
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

/* Adds sums over eight columns to the sixteen of sight_slopes, lane by lane. */
static inline void gather_sums(const Sums *s, Lanes dx, int askew, Lanes *all_sums) {
    Lanes *first = all_sums, *second = all_sums + LANES;
    if (askew) {
        for (int k = 0; k < 5; k++) first[k] += s->mixed[k];
        first[5] += s->d[0], first[6] += s->n[0], first[7] += s->n[1];
        second[0] += s->n[2], second[1] += s->d[1], second[2] += s->d[2];
    } else {
        Lanes n = s->n[0] * dx, d = s->d[0] * dx;
        first[0] += n, first[1] += s->n[1], first[2] += n * dx, first[3] += s->n[1] * dx, first[4] += s->n[2];
        first[5] += s->d[0], first[6] += d, first[7] += s->d[1];
        second[0] += d * dx, second[1] += s->d[1] * dx, second[2] += s->d[2];
    }
    second[3] += s->opacity;
    for (int c = 0; c < 3; c++) second[4 + c] += s->colour[c];
}

static inline void write_sums(const Lanes *all_sums, float *out) {
    Lanes sums[2] = {sum_each(all_sums), sum_each(all_sums + LANES)};
    memcpy(out, sums, sizeof sums);
}

/* Eight columns of a splat's rows in a tile, from cell `left`. */
static inline __attribute__((always_inline)) void walk_columns(
    const Camera *camera, const Splat *s, const Askew *askew, const SplatRate *rate, int64_t tile, int left, int begin,
    int stop, Tile *t, const int pass, const int with_depth, Lanes *sums) {
    int first_row = (int)(tile / camera->columns) * TILE;
    const Lanes x = (Lanes){0, 1, 2, 3, 4, 5, 6, 7} + ((float)((int)(tile % camera->columns) * TILE + left) + 0.5f);
    const Columns columns = columns_of(s, x - s->u);
    Sums own = {0};
    for (int row = begin; row < stop; row++) {
        float y = (float)(first_row + row) + 0.5f, dy = y - s->v;
        int at = row * PITCH + left;
        Response r;
        if (!any(load(t->light + at) > 0.0f)) continue;
        if (__builtin_expect(askew != NULL, 0)) {
            Lanes d[3], px = x - camera->centre[0];
            for (int k = 0; k < 3; k++)
                d[k] = px * camera->across[k] + (y - camera->centre[1]) * camera->down[k] - camera->back[k];
            r = respond_askew(askew, d);
            if (pass == DRAW) draw_row(&askew->splat, &r, t, at, with_depth);
            if (pass == RATES) rate_row(&askew->splat, rate, &r, t, at);
            if (pass == BACKWARD) backward_row(&askew->splat, &r, t, at, dy, 1, &own);
        } else {
            r = respond(s, &columns, dy);
            if (pass == DRAW) draw_row(s, &r, t, at, with_depth);
            if (pass == RATES) rate_row(s, rate, &r, t, at);
            if (pass == BACKWARD) backward_row(s, &r, t, at, dy, 0, &own);
        }
        if (pass == INFLUENCE) influence_row(&r, t, at, sums, sums + 1);
    }
    if (pass == BACKWARD) gather_sums(&own, x - s->u, askew != NULL, sums);
}

static inline int is_finished(const Tile *t) {
    Lanes most = all(0.0f);
    for (int cell = 0; cell < CELLS; cell += LANES) most = larger(most, load(t->light + cell));
    return !any(most > 0.0f);
}

/* A whole list through a tile. `pass` is a constant where this is inlined. `rates` [V][N] and `sums` [slots][SUMS] (or
 * [slots][2]) belong to the passes that name them. */
static inline __attribute__((always_inline)) void walk(const Work *w, int view, int64_t tile, Tile *t, const int pass,
                                                       const int with_depth, const SplatRate *rates, float *sums) {
    const Camera *camera = w->cameras + view;
    int64_t first = view * w->scene.gaussians, index = camera->first_tile + tile;
    const Splat *splats = w->splats + first;
    const Box *boxes = w->boxes + first;
    int left = (int)(tile % camera->columns) * TILE, top = (int)(tile / camera->columns) * TILE;
    const Entry *entry = w->entries + w->tile_begin[index], *end = w->entries + w->tile_begin[index + 1];
    const int size = pass == BACKWARD ? SUMS : 2;
    for (int64_t walked = 1; entry < end; entry++, walked++) {
        if (walked % 64 == 0 && is_finished(t)) break;
        int32_t gaussian = entry->splat < 0 ? ~entry->splat : entry->splat;
        const Splat *s = splats + gaussian;
        const Box *box = boxes + gaussian;
        const Askew *askew = entry->splat < 0 ? w->askew[view] + box->askew - 1 : NULL;
        if (entry + 4 < end) {
            int32_t ahead = entry[4].splat < 0 ? ~entry[4].splat : entry[4].splat;
            __builtin_prefetch(splats + ahead);
            __builtin_prefetch(boxes + ahead);
            if (pass == BACKWARD) __builtin_prefetch(sums + (w->view_begin[view] + entry[4].slot) * size, 1);
        }
        int begin = s->top > top ? s->top - top : 0, stop = s->bottom - top < TILE ? s->bottom - top + 1 : TILE;
        int column = box->left > left ? box->left - left : 0, last = box->right - left < TILE ? box->right - left : TILE - 1;
        Lanes own[SUMS];
        for (int k = 0; k < (pass == BACKWARD ? SUMS : pass == INFLUENCE ? 2 : 0); k++) own[k] = all(0.0f);
        for (; column <= last; column += LANES)
            walk_columns(camera, s, askew, pass == RATES ? rates + first + gaussian : NULL, tile, column, begin, stop, t, pass,
                         with_depth, own);
        float *out = sums + (w->view_begin[view] + entry->slot) * size;
        if (pass == BACKWARD) write_sums(own, out);
        if (pass == INFLUENCE) out[0] = total(own[0]), out[1] = total(own[1]);
    }
    if (pass == BACKWARD || pass == INFLUENCE)
        for (; entry < end; entry++) memset(sums + (w->view_begin[view] + entry->slot) * size, 0, (size_t)size * sizeof(float));
}

#endif
