/* Pictures of moving Gaussians: what Python calls. See scene.h, motion.h, colour.h, sight.h, lists.h, draw.h, cast.h. */
#include "cast.h"

static int64_t all_tiles(const Work *w) {
    const Camera *last = w->cameras + w->views - 1;
    return w->views ? last->first_tile + (int64_t)last->columns * last->rows : 0;
}

/* A tile's part of its picture. */
typedef struct {
    int view, left, top, width, height;
    int64_t tile;
    const Camera *camera;
} Area;

static Area area_of(const Work *w, int64_t index) {
    Area a = {.view = 0};
    while (a.view + 1 < w->views && w->cameras[a.view + 1].first_tile <= index) a.view++;
    a.camera = w->cameras + a.view, a.tile = index - a.camera->first_tile;
    a.left = (int)(a.tile % a.camera->columns) * TILE, a.top = (int)(a.tile / a.camera->columns) * TILE;
    a.width = a.camera->width - a.left < TILE ? a.camera->width - a.left : TILE;
    a.height = a.camera->height - a.top < TILE ? a.camera->height - a.top : TILE;
    return a;
}

/* Index of the first pixel of an area's row, over all views' pixels. */
static inline int64_t row_begin(const Area *a, int row) {
    return a->camera->first_pixel + (int64_t)(a->top + row) * a->camera->width + a->left;
}

Work *raster_prepare(const Scene *scene, const double *cameras, int views) { return prepare(scene, cameras, views); }

void raster_release(Work *w) { release(w); }

/* Light in the pixels of a tile of a size, none beyond. */
static void begin_tile(Tile *t, int width, int height) {
    for (int cell = 0; cell < CELLS; cell++) t->light[cell] = cell / PITCH < height && cell % PITCH < width ? 1.0f : 0.0f;
    memset(t->colour, 0, sizeof t->colour), memset(t->depth, 0, sizeof t->depth);
    memset(t->light_rate, 0, sizeof t->light_rate), memset(t->colour_rate, 0, sizeof t->colour_rate);
}

/* Colours and opacity of an area's pixels, and derivatives of both, rates [P][4], where these are not null. */
static void write_pixels(const Area *a, const Tile *t, float *rgb, float *accumulation, float *rates) {
    for (int row = 0; row < a->height; row++)
        for (int column = 0; column < a->width; column++) {
            int64_t pixel = row_begin(a, row) + column;
            int cell = row * PITCH + column;
            for (int c = 0; c < 3; c++) rgb[3 * pixel + c] = t->colour[c][cell];
            for (int c = 0; c < 3 && rates; c++) rates[4 * pixel + c] = t->colour_rate[c][cell];
            if (rates) rates[4 * pixel + 3] = -t->light_rate[cell];
            accumulation[pixel] = 1.0f - t->light[cell];
        }
}

/* Distances along the rays, from depths along the camera's axis. */
static void write_depths(const Area *a, const Tile *t, float *depth) {
    const Camera *c = a->camera;
    for (int row = 0; row < a->height; row++)
        for (int column = 0; column < a->width; column++) {
            float dx = (float)(a->left + column) + 0.5f - c->centre[0], dy = (float)(a->top + row) + 0.5f - c->centre[1];
            float square = 0.0f;
            for (int k = 0; k < 3; k++) {
                float d = dx * c->across[k] + dy * c->down[k] - c->back[k];
                square += d * d;
            }
            depth[row_begin(a, row) + column] = t->depth[row * PITCH + column] * sqrtf(square);
        }
}

/* rgb [P][3], accumulation [P], depth [P] or null. */
void raster_draw(const Work *w, float *rgb, float *accumulation, float *depth) {
    #pragma omp parallel for schedule(dynamic) num_threads(w->scene.threads)
    for (int64_t index = 0; index < all_tiles(w); index++) {
        Area area = area_of(w, index);
        Tile t;
        begin_tile(&t, area.width, area.height);
        if (depth) walk(w, area.view, area.tile, &t, DRAW, 1, NULL, NULL);
        else walk(w, area.view, area.tile, &t, DRAW, 0, NULL, NULL);
        write_pixels(&area, &t, rgb, accumulation, NULL);
        if (depth) write_depths(&area, &t, depth);
    }
}

/* The next eight Gaussians, or as many as there are, that a view sees; false where there are no more. */
static int next_seen(const Work *w, int view, int64_t *next, int64_t end, Group *group) {
    const float *distances = w->distances + view * w->scene.gaussians;
    group->count = 0;
    for (; *next < end && group->count < LANES; (*next)++)
        if (distances[*next] >= 0.0f) group->row[group->count++] = *next;
    for (int lane = group->count; lane < LANES && group->count; lane++) group->row[lane] = group->row[group->count - 1];
    return group->count;
}

/* As when the view was prepared, each lane in the frame that its Gaussian is drawn in. */
static void see_again(const Work *w, int view, const Group *group, Placed *p, Sight *o) {
    const Camera *camera = w->cameras + view;
    place(&w->scene, view, carriers_at(w, view), group, p);
    look(&w->scene, group, p, camera->position, camera->remainder, camera->near, camera->far, o);
    Mask askew = {0};
    for (int lane = 0; lane < LANES; lane++)
        askew[lane] = -(w->boxes[view * w->scene.gaussians + group->row[lane]].askew > 0);
    if (!any(askew)) {
        picture_frame(o, camera);
        return;
    }
    Sight own = *o;
    own_frame(&own);
    picture_frame(o, camera);
    o->scale = choose(askew, own.scale, o->scale);
    for (int j = 0; j < 3; j++)
        for (int k = 0; k < 3; k++) {
            o->axes[j][k] = choose(askew, own.axes[j][k], o->axes[j][k]);
            o->c[j][k] = choose(askew, own.c[j][k], o->c[j][k]);
            if (j < 2) o->b[j][k] = choose(askew, own.b[j][k], o->b[j][k]);
        }
}

/* The same with the derivatives of colours and opacity by time, rates [P][4]. */
void raster_rates(const Work *w, float *rgb, float *accumulation, float *rates) {
    const Scene *s = &w->scene;
    size_t table = (size_t)s->rests * s->nodes;
    Carrier *carrier_rates = room(w->views * table * sizeof(Carrier));
    SplatRate *splat_rates = room((size_t)w->views * s->gaussians * sizeof(SplatRate));
    #pragma omp parallel num_threads(s->threads)
    {
        #pragma omp for schedule(static)
        for (int view = 0; view < w->views; view++)
            fill_carriers(s, view, w->carriers + view * table, carrier_rates + view * table);
        #pragma omp for schedule(dynamic)
        for (int job = 0; job < w->views * PARTS; job++) {
            int view = job / PARTS;
            Group group;
            int64_t next = part_begin(s->gaussians, job % PARTS), end = part_begin(s->gaussians, job % PARTS + 1);
            while (next_seen(w, view, &next, end, &group)) {
                Placed placed;
                Sight sight;
                Lanes mean[3], quaternion[4], opacity;
                SplatRate found[LANES];
                see_again(w, view, &group, &placed, &sight);
                place_rates(s, carriers_at(w, view), carrier_rates + view * table, &group, &placed, mean, quaternion, &opacity);
                fill_rates(s, &placed, &sight, mean, quaternion, opacity, found);
                for (int lane = 0; lane < group.count; lane++)
                    splat_rates[view * s->gaussians + group.row[lane]] = found[lane];
            }
        }
        #pragma omp for schedule(dynamic)
        for (int64_t index = 0; index < all_tiles(w); index++) {
            Area area = area_of(w, index);
            Tile t;
            begin_tile(&t, area.width, area.height);
            walk(w, area.view, area.tile, &t, RATES, 0, splat_rates, NULL);
            write_pixels(&area, &t, rgb, accumulation, rates);
        }
    }
    free(carrier_rates), free(splat_rates);
}

/* errors [P]; weights [N] and their sums with the errors [N] are added to. */
void raster_influence(const Work *w, const float *errors, float *weights, float *blames) {
    int64_t count = w->scene.gaussians;
    float *sums = malloc((size_t)w->view_begin[w->views] * 2 * sizeof(float) + 1);
    #pragma omp parallel num_threads(w->scene.threads)
    {
        #pragma omp for schedule(dynamic)
        for (int64_t index = 0; index < all_tiles(w); index++) {
            Area area = area_of(w, index);
            Tile t;
            begin_tile(&t, area.width, area.height);
            memset(t.errors, 0, sizeof t.errors);
            for (int row = 0; row < area.height; row++)
                memcpy(t.errors + row * PITCH, errors + row_begin(&area, row), (size_t)area.width * sizeof(float));
            walk(w, area.view, area.tile, &t, INFLUENCE, 0, NULL, sums);
        }
        #pragma omp for schedule(static)
        for (int64_t i = 0; i < count; i++)
            for (int view = 0; view < w->views; view++) {
                const Box *box = w->boxes + view * count + i;
                if (w->distances[view * count + i] < 0.0f) continue;
                const float *own = sums + 2 * (w->view_begin[view] + box->slot);
                float weight = 0.0f, blame = 0.0f;
                for (int64_t n = 0; n < tiles_of(w->splats + view * count + i, box); n++) weight += own[2 * n], blame += own[2 * n + 1];
                weights[i] += weight, blames[i] += blame;
            }
    }
    free(sums);
}

/* From the sums of a view's tiles to Gaussians' gradients. */
static void gaussian_slopes(const Work *w, int view, const Group *group, const float *sums, Carrier *carriers,
                            Gradients *out, double *time) {
    const Scene *s = &w->scene;
    Placed placed;
    Sight sight;
    Lanes mean[3], quaternion[4], log_scales[3], harmonics[48], added[SUMS];
    for (int lane = 0; lane < LANES; lane++) {
        int64_t index = view * s->gaussians + group->row[lane];
        const Lanes *own = (const Lanes *)(sums + (w->view_begin[view] + w->boxes[index].slot) * SUMS);
        int64_t tiles = tiles_of(w->splats + index, w->boxes + index);
        added[lane] = own[0], added[LANES + lane] = own[1];
        for (int64_t n = 1; n < tiles; n++) added[lane] += own[2 * n], added[LANES + lane] += own[2 * n + 1];
    }
    transpose(added), transpose(added + LANES);
    see_again(w, view, group, &placed, &sight);
    sight_slopes(s, &placed, &sight, added, mean, quaternion, log_scales, harmonics);
    scatter(out->log_scales, 3, group, log_scales), scatter(out->colours, 3 * s->harmonics, group, harmonics);
    place_slopes(s, carriers_at(w, view), group, &placed, mean, quaternion, added[11], carriers, out, time);
}

/* A pixel on its way back; rgb and accumulation as drawn, upstream: slopes by both. */
static void begin_backward(Tile *t, int cell, int64_t pixel, const float *rgb, const float *accumulation,
                           const float *upstream) {
    t->behind[cell] = 0.0f;
    for (int c = 0; c < 4; c++) {
        /* Where no light was left the opacity is 1, whatever the Gaussians do. */
        int still = c == 3 && accumulation[pixel] == 1.0f;
        t->upstream[c][cell] = still ? 0.0f : upstream[4 * pixel + c];
        t->behind[cell] += t->upstream[c][cell] * (c < 3 ? rgb[3 * pixel + c] : accumulation[pixel]);
    }
}

/* rgb and accumulation as drawn; upstream [P][4]: slopes by both. */
void raster_backward(const Work *w, const float *rgb, const float *accumulation, const float *upstream, Gradients *out) {
    const Scene *s = &w->scene;
    size_t table = (size_t)s->rests * s->nodes;
    float *sums = room((size_t)w->view_begin[w->views] * SUMS * sizeof(float));
    Carrier *carriers = room(PARTS * w->views * table * sizeof(Carrier));
    memset(carriers, 0, PARTS * w->views * table * sizeof(Carrier));
    double *times = calloc((size_t)PARTS * w->views + 1, sizeof(double));
    #pragma omp parallel num_threads(s->threads)
    {
        #pragma omp for schedule(dynamic)
        for (int64_t index = 0; index < all_tiles(w); index++) {
            Area area = area_of(w, index);
            Tile t;
            begin_tile(&t, area.width, area.height);
            memset(t.upstream, 0, sizeof t.upstream), memset(t.behind, 0, sizeof t.behind);
            for (int row = 0; row < area.height; row++)
                for (int column = 0; column < area.width; column++)
                    begin_backward(&t, row * PITCH + column, row_begin(&area, row) + column, rgb, accumulation, upstream);
            walk(w, area.view, area.tile, &t, BACKWARD, 0, NULL, sums);
        }
        #pragma omp for schedule(dynamic)
        for (int part = 0; part < PARTS; part++)
            for (int view = 0; view < w->views; view++) {
                Group group;
                int64_t next = part_begin(s->gaussians, part), end = part_begin(s->gaussians, part + 1);
                while (next_seen(w, view, &next, end, &group))
                    gaussian_slopes(w, view, &group, sums, carriers + ((size_t)part * w->views + view) * table, out,
                                    times + part * w->views + view);
            }
    }
    for (int view = 0; view < w->views; view++) {
        Carrier *first = carriers + view * table;
        for (int part = 0; part < PARTS; part++) {
            out->times[view] += times[part * w->views + view];
            if (part == 0) continue;
            const float *more = (const float *)(carriers + ((size_t)part * w->views + view) * table);
            for (size_t n = 0; n < table * sizeof(Carrier) / sizeof(float); n++) ((float *)first)[n] += more[n];
        }
        if (table) carrier_slopes(s, view, carriers_at(w, view), first, out);
    }
    free(sums), free(carriers), free(times);
}

/* Light in the first cells, for as many rays as there are of eight. */
static void begin_eight(Tile *t, int64_t count) {
    for (int lane = 0; lane < LANES; lane++) {
        t->light[lane] = lane < count ? 1.0f : 0.0f;
        t->depth[lane] = t->light_rate[lane] = t->behind[lane] = 0.0f;
        for (int c = 0; c < 3; c++) t->colour[c][lane] = t->colour_rate[c][lane] = 0.0f;
        for (int c = 0; c < 4; c++) t->upstream[c][lane] = 0.0f;
    }
}

/* Colours [R][3], opacity [R], and depth [R] or, where they are asked for instead, derivatives of both by time [R][4]. */
void raster_cast(const Scene *s, const Rays *rays, float *rgb, float *accumulation, float *depth, float *rates) {
    #pragma omp parallel for schedule(dynamic) num_threads(s->threads)
    for (int64_t bundle = 0; bundle < rays->bundles; bundle++) {
        Surroundings around = look_around(s, rays, bundle, rates != NULL);
        int64_t end = rays->begin[bundle + 1];
        for (int64_t first = rays->begin[bundle]; first < end; first += LANES) {
            Tile t;
            begin_eight(&t, end - first);
            if (rates) cast_eight(&around, rays, first, end, &t, RATES, NULL);
            else cast_eight(&around, rays, first, end, &t, DRAW, NULL);
            for (int lane = 0; lane < LANES && first + lane < end; lane++) {
                for (int c = 0; c < 3; c++) rgb[3 * (first + lane) + c] = t.colour[c][lane];
                accumulation[first + lane] = 1.0f - t.light[lane];
                for (int c = 0; c < 3 && rates; c++) rates[4 * (first + lane) + c] = t.colour_rate[c][lane];
                if (rates) rates[4 * (first + lane) + 3] = -t.light_rate[lane];
                else depth[first + lane] = t.depth[lane];
            }
        }
        release_surroundings(&around);
    }
}

/* As raster_backward, of loose rays: on one thread, bundle after bundle. */
void raster_cast_backward(const Scene *s, const Rays *rays, const float *rgb, const float *accumulation,
                          const float *upstream, Gradients *out) {
    for (int64_t bundle = 0; bundle < rays->bundles; bundle++) {
        Surroundings around = look_around(s, rays, bundle, 0);
        float *sums = calloc((size_t)around.count * SUMS + 1, sizeof(float));
        int64_t end = rays->begin[bundle + 1];
        for (int64_t first = rays->begin[bundle]; first < end; first += LANES) {
            Tile t;
            begin_eight(&t, end - first);
            for (int lane = 0; lane < LANES && first + lane < end; lane++)
                begin_backward(&t, lane, first + lane, rgb, accumulation, upstream);
            cast_eight(&around, rays, first, end, &t, BACKWARD, sums);
        }
        bundle_slopes(s, &around, sums, out);
        free(sums);
        release_surroundings(&around);
    }
}
