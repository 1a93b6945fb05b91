/* Lucas-Kanade on one level of a pyramid: how far small windows of one picture have moved in the next. */

#include <stdint.h>

enum { CHANNELS = 3, MOST_REACH = 8, MOST_SIDE = 2 * MOST_REACH + 3 };

/* Pixels of a step that is the last: those after it would be shorter still. */
static const float STILL = 1e-3f;

typedef struct {
    const float *pixels; /* [CHANNELS][height][width] */
    int width, height;
} Picture;

static int clamped(int value, int end) { return value < 0 ? 0 : value >= end ? end - 1 : value; }

/* Bilinear samples a pixel apart, `reach` to all sides of a place; the border's pixels lie beyond it, too. */
static void sample(const Picture *picture, int channel, float x, float y, int reach, float *out) {
    const float *plane = picture->pixels + (int64_t)channel * picture->width * picture->height;
    const float left = __builtin_floorf(x - 0.5f), top = __builtin_floorf(y - 0.5f);
    const float u = x - 0.5f - left, v = y - 0.5f - top;
    const int first = (int)left - reach, side = 2 * reach + 1;
    const int inside = first >= 0 && first + side < picture->width;
    for (int row = 0; row < side; row++) {
        const int line = (int)top - reach + row;
        const float *upper = plane + (int64_t)clamped(line, picture->height) * picture->width;
        const float *lower = plane + (int64_t)clamped(line + 1, picture->height) * picture->width;
        float between[MOST_SIDE + 1];
        for (int column = 0; column <= side; column++) {
            const int place = inside ? first + column : clamped(first + column, picture->width);
            between[column] = upper[place] + v * (lower[place] - upper[place]);
        }
        for (int column = 0; column < side; column++)
            out[row * side + column] = between[column] + u * (between[column + 1] - between[column]);
    }
}

typedef struct {
    float values[CHANNELS][MOST_SIDE * MOST_SIDE], across[CHANNELS][MOST_SIDE * MOST_SIDE],
        down[CHANNELS][MOST_SIDE * MOST_SIDE];
    float inverse[3]; /* of the normal matrix: xx, xy, yy */
} Template;

/* A window of the first picture, its weighted slopes, and what they make of differences. */
static void fill_template(const Picture *before, const float *place, int reach, const float *weights, float damping,
                          Template *t) {
    const int side = 2 * reach + 1, wide = side + 2;
    float xx = damping, xy = 0.0f, yy = damping;
    for (int c = 0; c < CHANNELS; c++) {
        float around[MOST_SIDE * MOST_SIDE];
        sample(before, c, place[0], place[1], reach + 1, around);
        for (int row = 0; row < side; row++)
            for (int column = 0; column < side; column++) {
                const int at = (row + 1) * wide + column + 1, k = row * side + column;
                const float dx = 0.5f * (around[at + 1] - around[at - 1]);
                const float dy = 0.5f * (around[at + wide] - around[at - wide]);
                t->values[c][k] = around[at];
                t->across[c][k] = weights[k] * dx, t->down[c][k] = weights[k] * dy;
                xx += weights[k] * dx * dx, xy += weights[k] * dx * dy, yy += weights[k] * dy * dy;
            }
    }
    const float determinant = xx * yy - xy * xy;
    t->inverse[0] = yy / determinant, t->inverse[1] = -xy / determinant, t->inverse[2] = xx / determinant;
}

static float limited(float step, float most) { return step < -most ? -most : step > most ? most : step; }

/* Gauss-Newton on the shifts [count][2] of windows around places [count][2]; weights [side * side] of their pixels.
   Returns 0, or 1 where `reach` is larger than there is room for. */
int move_windows(const float *before, const float *after, int width, int height, const float *places, float *shifts,
                 int64_t count, int reach, int rounds, const float *weights, float damping, float longest) {
    const Picture first = {before, width, height}, second = {after, width, height};
    const int pixels = (2 * reach + 1) * (2 * reach + 1);
    if (reach > MOST_REACH) return 1;
    for (int64_t n = 0; n < count; n++) {
        Template t;
        float *shift = shifts + 2 * n;
        const float *place = places + 2 * n;
        fill_template(&first, place, reach, weights, damping, &t);
        for (int round = 0; round < rounds; round++) {
            float right[2] = {0.0f, 0.0f};
            for (int c = 0; c < CHANNELS; c++) {
                float now[MOST_SIDE * MOST_SIDE];
                float x = 0.0f, y = 0.0f;
                sample(&second, c, place[0] + shift[0], place[1] + shift[1], reach, now);
                for (int k = 0; k < pixels; k++) {
                    const float difference = t.values[c][k] - now[k];
                    x += t.across[c][k] * difference, y += t.down[c][k] * difference;
                }
                right[0] += x, right[1] += y;
            }
            const float step[2] = {limited(t.inverse[0] * right[0] + t.inverse[1] * right[1], longest),
                                   limited(t.inverse[1] * right[0] + t.inverse[2] * right[1], longest)};
            shift[0] += step[0], shift[1] += step[1];
            if (step[0] * step[0] + step[1] * step[1] < STILL * STILL) break;
        }
    }
    return 0;
}
