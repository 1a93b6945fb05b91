/* Which Gaussians each tile of a picture sees, near to far: projection, one sort by distance, lists. */
#ifndef LISTS_H
#define LISTS_H

#include "sight.h"

#define TILE 32 /* pixels of a tile's side */

/* Where a splat is in its picture: columns that may be touched, both included; the slot of its first tile's sums; 1 + the
 * index of its Askew, or 0. */
typedef struct {
    int32_t left, right, slot, askew;
} Box;

/* A Gaussian in a tile's list; ~splat where it is askew. */
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
    Box *boxes;            /* [V][N] */
    float *distances;      /* [V][N], negative where a Gaussian is not seen */
    Askew **askew;         /* [V][...] */
    int64_t *tile_begin;   /* [tiles + 1], into entries */
    int64_t *view_begin;   /* [V + 1], into entries: where the slots of a view begin */
    Entry *entries;
} Work;

static inline const Carrier *carriers_at(const Work *w, int moment) {
    return w->carriers + (size_t)moment * w->scene.rests * w->scene.nodes;
}

/* Memory for vectors. */
static void *room(size_t bytes) { return aligned_alloc(64, (bytes / 64 + 1) * 64); }

static Camera read_camera(const double *n) {
    Camera c = {.near = (float)n[6], .far = (float)n[7], .width = (int)n[0], .height = (int)n[1]};
    c.focal[0] = (float)n[2], c.focal[1] = (float)n[3], c.centre[0] = (float)n[4], c.centre[1] = (float)n[5];
    for (int k = 0; k < 3; k++) {
        c.right[k] = (float)n[8 + 4 * k], c.up[k] = (float)n[9 + 4 * k], c.back[k] = (float)n[10 + 4 * k];
        c.position[k] = (float)n[11 + 4 * k], c.remainder[k] = (float)(n[11 + 4 * k] - (double)c.position[k]);
        c.across[k] = (float)(n[8 + 4 * k] / n[2]), c.down[k] = (float)(-n[9 + 4 * k] / n[3]);
    }
    c.columns = (c.width + TILE - 1) / TILE, c.rows = (c.height + TILE - 1) / TILE;
    return c;
}

/* First and last pixel between two places of a picture's axis, within it. */
static inline void pixels_between(Lanes middle, Lanes half, int size, float *first, float *last) {
    Lanes margin = half * 1.0001f + 1e-3f;
    Lanes low = larger(middle - 0.5f - margin, all(0.0f)), high = smaller(middle - 0.5f + margin, all((float)size - 1.0f));
    for (int lane = 0; lane < LANES; lane++) first[lane] = ceilf(low[lane]), last[lane] = floorf(high[lane]);
}

/* Gaussians in a picture. */
static void project(const Work *w, int view, const Group *group) {
    const Camera *camera = w->cameras + view;
    const Scene *s = &w->scene;
    int64_t first = view * s->gaussians + group->row[0];
    Placed p;
    Sight o;
    Lanes middle[2], half[2];
    float left[LANES], right[LANES], top[LANES], bottom[LANES];
    Mask seen = place(s, view, carriers_at(w, view), group, &p);
    seen &= look(s, group, &p, camera->position, camera->remainder, camera->near, camera->far, &o);
    for (int lane = 0; lane < group->count; lane++) w->distances[first + lane] = -1.0f;
    if (!any(seen)) return;
    Lanes depth = picture_frame(&o, camera);
    Mask bounded = bounds(&o, middle, half), rows;
    Lanes u = camera->centre[0] + camera->focal[0] * (dot_with(camera->right, o.away) / depth);
    Lanes v = camera->centre[1] - camera->focal[1] * (dot_with(camera->up, o.away) / depth);
    pixels_between(u + middle[0], half[0], camera->width, left, right);
    pixels_between(v + middle[1], half[1], camera->height, top, bottom);
    for (int lane = 0; lane < LANES; lane++) {
        if (!bounded[lane])
            left[lane] = top[lane] = 0.0f, right[lane] = (float)camera->width - 1.0f, bottom[lane] = (float)camera->height - 1.0f;
        seen[lane] &= -(left[lane] <= right[lane] && top[lane] <= bottom[lane]);
        rows[lane] = seen[lane] ? (int)top[lane] | (int)bottom[lane] << 16 : 0;
    }
    Mask sound = fill_splats(&p, &o, u, v, depth, rows, sizeof(Splat), group->count, w->splats + first);
    seen &= ~bounded | (sound & (depth > 0.0f));
    for (int lane = 0; lane < group->count; lane++) {
        if (!seen[lane]) continue;
        w->boxes[first + lane] = (Box){(int)left[lane], (int)right[lane], 0, !bounded[lane]};
        w->distances[first + lane] = o.distance[lane];
    }
}

/* Gaussians in frames of their own, as they are seen from a place; the lanes in which they are. */
static Mask fill_askew(const Scene *s, int moment, const Carrier *table, const Group *group, const float *from,
                       const float *remainder, float near, float far, Askew *out) {
    Placed p;
    Sight o;
    Lanes middle[2], half[2];
    Mask seen = place(s, moment, table, group, &p);
    seen &= look(s, group, &p, from, remainder, near, far, &o);
    own_frame(&o);
    Mask bounded = bounds(&o, middle, half);
    Lanes x = magnitude(middle[0]) + half[0], y = magnitude(middle[1]) + half[1];
    Lanes cosine = choose(bounded, 1.0f / root(1.0f + x * x + y * y) - 1e-5f, all(-2.0f));
    seen &= fill_splats(&p, &o, all(0.0f), all(0.0f), o.distance, (Mask){0}, sizeof(Askew), group->count, out);
    for (int lane = 0; lane < group->count; lane++) {
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 3; k++) out[lane].axes[j][k] = o.axes[j][k][lane];
        out[lane].cosine = cosine[lane], out[lane].distance = o.distance[lane];
    }
    return seen;
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

static inline int64_t tiles_of(const Splat *s, const Box *box) {
    return (int64_t)(box->right / TILE - box->left / TILE + 1) * (s->bottom / TILE - s->top / TILE + 1);
}

/* A cone around the rays of a tile: its axis, and the cosine of half its angle. */
typedef struct {
    float axis[3], cosine;
} Cone;

/* The unit direction of a ray through a place in the picture. */
static inline void direction_of(const Camera *c, int x, int y, float *out) {
    float square = 0.0f;
    for (int k = 0; k < 3; k++) {
        out[k] = ((float)x - c->centre[0]) * c->across[k] + ((float)y - c->centre[1]) * c->down[k] - c->back[k];
        square += out[k] * out[k];
    }
    for (int k = 0; k < 3; k++) out[k] /= sqrtf(square);
}

/* The cones of a camera's tiles; to be freed. */
static Cone *tile_cones(const Camera *c) {
    Cone *cones = malloc((size_t)c->columns * c->rows * sizeof *cones + 1);
    for (int tile = 0; tile < c->columns * c->rows; tile++) {
        int left = tile % c->columns * TILE, top = tile / c->columns * TILE;
        Cone *cone = cones + tile;
        direction_of(c, left + TILE / 2, top + TILE / 2, cone->axis);
        cone->cosine = 1.0f;
        for (int corner = 0; corner < 4; corner++) {
            float d[3];
            direction_of(c, left + (corner & 1) * TILE, top + (corner >> 1) * TILE, d);
            float cosine = cone->axis[0] * d[0] + cone->axis[1] * d[1] + cone->axis[2] * d[2];
            cone->cosine = cosine < cone->cosine ? cosine : cone->cosine;
        }
    }
    return cones;
}

/* Whether a ray of a tile may touch an askew splat: whether the cones around the two meet. */
static inline int may_touch(const Cone *tile, const Askew *a) {
    if (a->cosine <= 0.0f || tile->cosine <= 0.0f) return 1;
    float apart = tile->axis[0] * a->axes[2][0] + tile->axis[1] * a->axes[2][1] + tile->axis[2] * a->axes[2][2];
    float sines = sqrtf((1.0f - tile->cosine * tile->cosine) * (1.0f - a->cosine * a->cosine));
    return apart >= tile->cosine * a->cosine - sines - 1e-5f;
}

/* Limits an askew splat's box to the tiles that it may touch; false where there are none. */
static int narrow(const Camera *camera, const Cone *cones, const Askew *askew, Splat *s, Box *box) {
    int left = camera->columns, right = -1, top = camera->rows, bottom = -1;
    for (int row = 0; row < camera->rows; row++)
        for (int column = 0; column < camera->columns; column++) {
            if (!may_touch(cones + row * camera->columns + column, askew)) continue;
            left = column < left ? column : left, right = column > right ? column : right;
            top = row < top ? row : top, bottom = row;
        }
    if (bottom < 0) return 0;
    right = (right + 1) * TILE, bottom = (bottom + 1) * TILE;
    box->left = left * TILE, box->right = (right < camera->width ? right : camera->width) - 1;
    s->top = (int16_t)(top * TILE), s->bottom = (int16_t)((bottom < camera->height ? bottom : camera->height) - 1);
    return 1;
}

/* Slots of a view's splats in the order of Gaussians, its askew ones, and the lengths of its tiles' lists. */
static void count_tiles(Work *w, int view) {
    const Camera *camera = w->cameras + view;
    int64_t count = w->scene.gaussians, slots = 0;
    int32_t askew = 0;
    Cone *cones = NULL;
    int64_t *lengths = w->tile_begin + 1 + camera->first_tile;
    for (int64_t i = 0; i < count; i++) {
        Splat *s = w->splats + view * count + i;
        Box *box = w->boxes + view * count + i;
        if (w->distances[view * count + i] < 0.0f) continue;
        if (box->askew) {
            Group one = group_of(i, i + 1);
            w->askew[view] = realloc(w->askew[view], (size_t)(askew + 1) * sizeof(Askew));
            Askew *own = w->askew[view] + askew;
            fill_askew(&w->scene, view, carriers_at(w, view), &one, camera->position, camera->remainder, camera->near,
                       camera->far, own);
            if (!cones) cones = tile_cones(camera);
            if (!narrow(camera, cones, own, s, box)) {
                w->distances[view * count + i] = -1.0f;
                continue;
            }
            box->askew = ++askew;
        }
        box->slot = (int32_t)slots;
        slots += tiles_of(s, box);
        for (int row = s->top / TILE; row <= s->bottom / TILE; row++)
            for (int column = box->left / TILE; column <= box->right / TILE; column++)
                lengths[row * camera->columns + column]++;
    }
    free(cones);
    w->view_begin[view + 1] = slots;
}

/* Appends a view's splats, near to far, to the lists of their tiles. */
static void fill_lists(Work *w, int view) {
    const Camera *camera = w->cameras + view;
    int64_t count = w->scene.gaussians, tiles = (int64_t)camera->columns * camera->rows;
    const Splat *splats = w->splats + view * count;
    const Box *boxes = w->boxes + view * count;
    uint64_t *keys = malloc((size_t)count * 2 * sizeof *keys + 1);
    int64_t *next = malloc((size_t)tiles * sizeof *next + 1);
    memcpy(next, w->tile_begin + camera->first_tile, (size_t)tiles * sizeof *next);
    int64_t found = sort_by_distance(w->distances + view * count, count, keys);
    for (int64_t n = 0; n < found; n++) {
        int32_t index = (int32_t)(uint32_t)keys[n], slot = boxes[index].slot;
        if (n + 8 < found) {
            __builtin_prefetch(splats + (uint32_t)keys[n + 8]);
            __builtin_prefetch(boxes + (uint32_t)keys[n + 8]);
        }
        for (int row = splats[index].top / TILE; row <= splats[index].bottom / TILE; row++)
            for (int column = boxes[index].left / TILE; column <= boxes[index].right / TILE; column++)
                w->entries[next[row * camera->columns + column]++] = (Entry){boxes[index].askew ? ~index : index, slot++};
    }
    free(keys), free(next);
}

static void release(Work *w) {
    if (w->askew)
        for (int view = 0; view < w->views; view++) free(w->askew[view]);
    free(w->cameras), free(w->carriers), free(w->splats), free(w->boxes), free(w->distances), free(w->askew);
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
    w->carriers = room((size_t)views * scene->rests * scene->nodes * sizeof(Carrier));
    w->splats = room((size_t)views * count * sizeof(Splat)), w->boxes = room((size_t)views * count * sizeof(Box));
    w->distances = room((size_t)views * count * sizeof(float));
    w->tile_begin = calloc((size_t)tiles + 1, sizeof(int64_t)), w->view_begin = calloc((size_t)views + 1, sizeof(int64_t));
    #pragma omp parallel num_threads(scene->threads)
    {
        #pragma omp for schedule(static)
        for (int view = 0; view < views; view++)
            fill_carriers(scene, view, w->carriers + (size_t)view * scene->rests * scene->nodes, NULL);
        #pragma omp for schedule(dynamic)
        for (int job = 0; job < views * PARTS; job++) {
            int64_t end = part_begin(count, job % PARTS + 1);
            for (int64_t i = part_begin(count, job % PARTS); i < end; i += LANES) {
                Group group = group_of(i, end);
                project(w, job / PARTS, &group);
            }
        }
        #pragma omp for schedule(dynamic)
        for (int view = 0; view < views; view++) count_tiles(w, view);
        #pragma omp single
        {
            for (int64_t tile = 0; tile < tiles; tile++) w->tile_begin[tile + 1] += w->tile_begin[tile];
            for (int view = 0; view < views; view++) w->view_begin[view + 1] += w->view_begin[view];
            w->entries = malloc((size_t)w->view_begin[views] * sizeof(Entry) + 1);
        }
        #pragma omp for schedule(dynamic)
        for (int view = 0; view < views; view++) fill_lists(w, view);
    }
    return w;
}

#endif
