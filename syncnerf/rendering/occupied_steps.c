/* Which steps of rays lie in marked cells of a box, each ray at a time of its own.
 *
 * Cells are [bin][x][y][z] bytes, `side` along each axis; rays are [rays][3] floats, distances [rays][steps].
 */
#include <stddef.h>

#define BLOCK 64

/* Cells of up to BLOCK steps, as offsets; -1 outside the box and outside the ray's part that counts. */
static void find_cells(const float *origin, const float *direction, const float *distances, int count, float enter,
                       float leave, const float *low, const float *scale, int side, int *cells) {
    float last = (float)side;
    for (int s = 0; s < count; s++) {
        float x = (origin[0] + distances[s] * direction[0] - low[0]) * scale[0];
        float y = (origin[1] + distances[s] * direction[1] - low[1]) * scale[1];
        float z = (origin[2] + distances[s] * direction[2] - low[2]) * scale[2];
        /* Not short-circuited, so that the loop stays a vector's. */
        int in_box = (x >= 0.0f) & (x < last) & (y >= 0.0f) & (y < last) & (z >= 0.0f) & (z < last);
        int counts = in_box & (distances[s] > enter) & (distances[s] < leave);
        int flat = ((int)(counts ? x : 0.0f) * side + (int)(counts ? y : 0.0f)) * side + (int)(counts ? z : 0.0f);
        cells[s] = counts ? flat : -1;
    }
}

void occupied_steps(const float *origins, const float *directions, const float *distances, const float *enter,
                    const float *leave, const int *bins, long rays, int steps, const float *low, const float *scale,
                    int side, const unsigned char *occupied, unsigned char *inside, int threads) {
    size_t volume = (size_t)side * (size_t)side * (size_t)side;
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (long n = 0; n < rays; n++) {
        const unsigned char *moment = occupied + (size_t)bins[n] * volume;
        for (int first = 0; first < steps; first += BLOCK) {
            int count = steps - first < BLOCK ? steps - first : BLOCK, cells[BLOCK];
            size_t place = (size_t)n * (size_t)steps + (size_t)first;
            find_cells(origins + 3 * n, directions + 3 * n, distances + place, count, enter[n], leave[n], low, scale, side,
                       cells);
            for (int s = 0; s < count; s++) inside[place + (size_t)s] = cells[s] < 0 ? 0 : moment[cells[s]];
        }
    }
}
