/* Which Gaussians each tile of a picture sees, near to far: projection, one sort by distance, lists. */
#ifndef LISTS_H
#define LISTS_H

#include "sight.h"

typedef struct {
    int32_t splat, slot;
} Entry;

/* All that a rendering leaves behind for its backward pass. */
typedef struct {
    Scene scene;
    int views;
    Camera *cameras;
    Carrier *carriers;     /* [V][J][M] */
    Splat *splats;         /* [V][N] */
    float *distances;      /* [V][N] */
    Askew **askew;         /* [V][...] */
    int64_t *tile_begin;   /* [tiles + 1], into entries */
    int64_t *view_begin;   /* [V + 1], into entries: where the slots of a view begin */
    Entry *entries;
} Work;

static inline const Carrier *carriers_at(const Work *w, int moment) {
    return w->carriers + (size_t)moment * w->scene.rests * w->scene.nodes;
}

static Camera read_camera(const double *n) {
    Camera c = {.near = (float)n[6], .far = (float)n[7], .width = (int)n[0], .height = (int)n[1]};
    c.focal[0] = (float)n[2], c.focal[1] = (float)n[3], c.centre[0] = (float)n[4], c.centre[1] = (float)n[5];
    for (int k = 0; k < 3; k++) {
        c.right[k] = (float)n[8 + 4 * k], c.up[k] = (float)n[9 + 4 * k], c.back[k] = (float)n[10 + 4 * k];
        c.position[k] = n[11 + 4 * k];
        c.across[k] = (float)(n[8 + 4 * k] / n[2]), c.down[k] = (float)(-n[9 + 4 * k] / n[3]);
    }
    c.columns = (c.width + TILE - 1) / TILE, c.rows = (c.height + TILE - 1) / TILE;
    return c;
}

static inline float visible_reach(const Placed *p) { return 2.0f * logf(255.0f * p->opacity); }

/* A Gaussian in a picture; its box is empty where it is not in it. */
static void project(const Work *w, int view, int64_t i, Splat *splat, float *distance) {
    const Camera *camera = w->cameras + view;
    Placed placed;
    Sight sight;
    double middle[2], half[2];
    splat->left = 0, splat->right = -1, splat->askew = 0;
    if (!place(&w->scene, view, carriers_at(w, view), i, &placed)) return;
    if (!look(&w->scene, i, &placed, camera->position, camera->near, camera->far, &sight)) return;
    float depth = picture_frame(&sight, camera);
    int bounded = bounds(&sight, visible_reach(&placed), middle, half);
    if (bounded && !(depth > 0.0f)) return;
    if (!bounded) own_frame(&sight);
    if (!fill_splat(&w->scene, i, &placed, &sight, bounded ? depth : sight.distance, splat)) return;
    double low[2] = {0, 0}, high[2] = {camera->width - 1, camera->height - 1};
    if (bounded) {
        splat->u = camera->centre[0] + camera->focal[0] * (dot(camera->right, sight.away) / depth);
        splat->v = camera->centre[1] - camera->focal[1] * (dot(camera->up, sight.away) / depth);
        const float at[2] = {splat->u, splat->v};
        for (int k = 0; k < 2; k++) {
            double margin = half[k] + 1e-3 + 1e-4 * half[k];
            low[k] = fmax(low[k], ceil(at[k] - 0.5 + middle[k] - margin));
            high[k] = fmin(high[k], floor(at[k] - 0.5 + middle[k] + margin));
        }
    }
    if (!(low[0] <= high[0] && low[1] <= high[1])) return;
    splat->left = (int)low[0], splat->right = (int)high[0], splat->top = (int)low[1], splat->bottom = (int)high[1];
    splat->askew = !bounded;
    *distance = sight.distance;
}

/* The frame of its own in which a splat is drawn that reaches across the camera's plane, or is seen by loose rays. */
static int fill_askew(const Scene *s, int moment, const Carrier *table, int64_t i, const double *from, float near,
                      float far, Askew *out) {
    Placed placed;
    Sight sight;
    double middle[2], half[2];
    if (!place(s, moment, table, i, &placed)) return 0;
    if (!look(s, i, &placed, from, near, far, &sight)) return 0;
    own_frame(&sight);
    out->cosine = -2.0f;
    if (bounds(&sight, visible_reach(&placed), middle, half)) {
        double x = fabs(middle[0]) + half[0], y = fabs(middle[1]) + half[1];
        out->cosine = (float)(1.0 / sqrt(1.0 + x * x + y * y)) - 1e-5f;
    }
    memcpy(out->axes, sight.axes, sizeof out->axes);
    out->distance = sight.distance;
    return fill_splat(s, i, &placed, &sight, sight.distance, &out->splat);
}

/* Sorts keys (bits of a positive float, then an index) by their upper half; stable. */
static void sort_keys(uint64_t *keys, uint64_t *spare, int64_t count) {
    static const int SHIFTS[3] = {32, 43, 54};
    int64_t (*begin)[2048] = calloc(3, sizeof *begin);
    for (int64_t n = 0; n < count; n++)
        for (int pass = 0; pass < 3; pass++) begin[pass][(keys[n] >> SHIFTS[pass]) & 2047]++;
    for (int pass = 0; pass < 3; pass++) {
        int64_t sum = 0;
        for (int bucket = 0; bucket < 2048; bucket++) {
            int64_t size = begin[pass][bucket];
            begin[pass][bucket] = sum;
            sum += size;
        }
        for (int64_t n = 0; n < count; n++) spare[begin[pass][(keys[n] >> SHIFTS[pass]) & 2047]++] = keys[n];
        uint64_t *swap = keys;
        keys = spare, spare = swap;
    }
    memcpy(spare, keys, (size_t)count * sizeof *keys); /* after an odd number of passes */
    free(begin);
}

/* Indices of numbers that are not negative, smallest number first, in the lower halves of `keys`; returns how many. */
static int64_t sort_by_distance(const float *distances, int64_t count, uint64_t *keys) {
    int64_t found = 0;
    for (int64_t n = 0; n < count; n++) {
        if (!(distances[n] >= 0.0f)) continue;
        uint32_t bits;
        memcpy(&bits, distances + n, sizeof bits);
        keys[found++] = (uint64_t)bits << 32 | (uint64_t)n;
    }
    sort_keys(keys, keys + count, found);
    return found;
}

static inline int64_t tiles_of(const Splat *s) {
    return (int64_t)(s->right / TILE - s->left / TILE + 1) * (s->bottom / TILE - s->top / TILE + 1);
}

/* Order of a view's splats, its askew ones, the lengths of its tiles' lists; returns how many splats are seen. */
static int64_t order_view(Work *w, int view, uint64_t *keys) {
    const Camera *camera = w->cameras + view;
    int64_t count = w->scene.gaussians, slots = 0, askew = 0;
    Splat *splats = w->splats + view * count;
    int64_t found = sort_by_distance(w->distances + view * count, count, keys);
    int64_t *lengths = w->tile_begin + 1 + camera->first_tile;
    for (int64_t n = 0; n < found; n++) {
        Splat *s = splats + (uint32_t)keys[n];
        s->slot = (int32_t)slots;
        slots += tiles_of(s);
        if (s->askew) {
            w->askew[view] = realloc(w->askew[view], (size_t)(askew + 1) * sizeof(Askew));
            fill_askew(&w->scene, view, carriers_at(w, view), (uint32_t)keys[n], camera->position, camera->near,
                       camera->far, w->askew[view] + askew);
            s->askew = (int32_t)++askew;
        }
        for (int row = s->top / TILE; row <= s->bottom / TILE; row++)
            for (int column = s->left / TILE; column <= s->right / TILE; column++) lengths[row * camera->columns + column]++;
    }
    w->view_begin[view + 1] = slots;
    return found;
}

/* Appends a view's splats in their order to the lists of their tiles. */
static void fill_lists(Work *w, int view, const uint64_t *keys, int64_t found) {
    const Camera *camera = w->cameras + view;
    const Splat *splats = w->splats + view * w->scene.gaussians;
    int64_t tiles = (int64_t)camera->columns * camera->rows;
    int64_t *next = malloc((size_t)tiles * sizeof *next + 1);
    memcpy(next, w->tile_begin + camera->first_tile, (size_t)tiles * sizeof *next);
    for (int64_t n = 0; n < found; n++) {
        int32_t index = (int32_t)(uint32_t)keys[n], slot = splats[index].slot;
        const Splat *s = splats + index;
        for (int row = s->top / TILE; row <= s->bottom / TILE; row++)
            for (int column = s->left / TILE; column <= s->right / TILE; column++)
                w->entries[next[row * camera->columns + column]++] = (Entry){index, slot++};
    }
    free(next);
}

static void release(Work *w) {
    if (w->askew)
        for (int view = 0; view < w->views; view++) free(w->askew[view]);
    free(w->cameras), free(w->carriers), free(w->splats), free(w->distances), free(w->askew);
    free(w->tile_begin), free(w->view_begin), free(w->entries), free(w);
}

/* Everything up to the lists. */
static Work *prepare(const Scene *scene, const double *cameras, int views) {
    Work *w = calloc(1, sizeof *w);
    int64_t count = scene->gaussians, pixels = 0, tiles = 0;
    w->scene = *scene, w->views = views;
    w->cameras = malloc((size_t)views * sizeof(Camera) + 1);
    w->askew = calloc((size_t)views + 1, sizeof *w->askew);
    for (int view = 0; view < views; view++) {
        w->cameras[view] = read_camera(cameras + CAMERA_NUMBERS * view);
        w->cameras[view].first_pixel = pixels, w->cameras[view].first_tile = tiles;
        pixels += (int64_t)w->cameras[view].width * w->cameras[view].height;
        tiles += (int64_t)w->cameras[view].columns * w->cameras[view].rows;
    }
    w->carriers = malloc((size_t)views * scene->rests * scene->nodes * sizeof(Carrier) + 1);
    w->splats = aligned_alloc(64, ((size_t)views * count * sizeof(Splat) / 64 + 1) * 64);
    w->distances = malloc((size_t)views * count * sizeof(float) + 1);
    w->tile_begin = calloc((size_t)tiles + 1, sizeof(int64_t)), w->view_begin = calloc((size_t)views + 1, sizeof(int64_t));
    uint64_t *keys = malloc((size_t)views * count * 2 * sizeof *keys + 1);
    int64_t *found = malloc((size_t)views * sizeof *found + 1);
    #pragma omp parallel num_threads(scene->threads)
    {
        #pragma omp for schedule(static)
        for (int view = 0; view < views; view++)
            fill_carriers(scene, view, w->carriers + (size_t)view * scene->rests * scene->nodes);
        #pragma omp for schedule(dynamic)
        for (int job = 0; job < views * PARTS; job++) {
            int view = job / PARTS;
            int64_t first = view * count, end = part_begin(count, job % PARTS + 1);
            for (int64_t i = part_begin(count, job % PARTS); i < end; i++) {
                w->distances[first + i] = -1.0f;
                project(w, view, i, w->splats + first + i, w->distances + first + i);
            }
        }
        #pragma omp for schedule(dynamic)
        for (int view = 0; view < views; view++) found[view] = order_view(w, view, keys + 2 * view * count);
        #pragma omp single
        {
            for (int64_t tile = 0; tile < tiles; tile++) w->tile_begin[tile + 1] += w->tile_begin[tile];
            for (int view = 0; view < views; view++) w->view_begin[view + 1] += w->view_begin[view];
            w->entries = malloc((size_t)w->view_begin[views] * sizeof(Entry) + 1);
        }
        #pragma omp for schedule(dynamic)
        for (int view = 0; view < views; view++) fill_lists(w, view, keys + 2 * view * count, found[view]);
    }
    free(keys), free(found);
    return w;
}

#endif
