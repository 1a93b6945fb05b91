/* The scene as Python hands it over, and how rows of its arrays come into the lanes of vectors.
 *
 * All arrays are float, row-major and contiguous unless said otherwise; pointers to what a scene does not have are null.
 * Nothing here depends on the number of threads: work is cut into PARTS whose results are added in order. Gaussians are
 * worked on eight at a time, one per lane.
 */
#ifndef SCENE_H
#define SCENE_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lanes.h"

#define PARTS 8

/* N Gaussians, V moments, M nodes, J moments of rest; cameras are [V][CAMERA_NUMBERS] double. */
#define CAMERA_NUMBERS 20
typedef struct {
    int64_t gaussians;
    int32_t moments, nodes, rests, harmonics, threads;
    const float *means, *quaternions, *log_scales, *logits, *colours;
    const int32_t *carriers, *rest_rows;
    const float *weights;
    const float *rest_positions, *rest_quaternions, *positions, *turns, *position_rates, *turn_rates;
    const float *velocities, *centres, *plateaus, *fades;
    const double *times;
} Scene;

/* Gradients of the same arrays, null where the scene has none; they are added to. That of times is double. */
typedef struct {
    float *means, *quaternions, *log_scales, *logits, *colours;
    float *weights, *rest_positions, *rest_quaternions, *positions, *turns;
    float *velocities, *centres, *plateaus, *fades;
    double *times;
} Gradients;

/* Some of the Gaussians; lanes beyond `count` repeat the last one. */
typedef struct {
    int64_t row[LANES];
    int count;
} Group;

static inline int64_t part_begin(int64_t count, int part) { return count * part / PARTS; }

/* Rows of an array [N][width], one per lane. */
static inline void gather(const float *array, int width, const Group *group, Lanes *out) {
    const float *row[LANES];
    for (int lane = 0; lane < LANES; lane++) row[lane] = array + group->row[lane] * width;
    for (int k = 0; k < width; k++)
        out[k] = (Lanes){row[0][k], row[1][k], row[2][k], row[3][k], row[4][k], row[5][k], row[6][k], row[7][k]};
}

/* Adds to rows of an array [N][width]. */
static inline void scatter(float *array, int width, const Group *group, const Lanes *values) {
    for (int lane = 0; lane < group->count; lane++)
        for (int k = 0; k < width; k++) array[group->row[lane] * width + k] += values[k][lane];
}

#endif
