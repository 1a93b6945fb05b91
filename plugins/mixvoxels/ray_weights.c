/* Rendering weights of samples at many moments at once (NeRF, equation 3), forward and backward.
 *
 * Layout: densities, weights and gradients are [samples][moments] floats, lengths [samples]; the samples of ray r are
 * those from starts[r] to starts[r + 1], near to far. Moments are taken COLUMNS at a time: what is left of the light
 * then stays in registers and the first cache.
 */
#include <stdint.h>
#include <string.h>

#define COLUMNS 64

/* 1 - exp(-depth) for a depth of 0 and more, exact to a few last digits for thin and for thick samples. */
static inline float opacity(float depth) {
    float x = depth < 87.0f ? -depth : -87.0f;
    float shifted = x * 1.44269504f + 12582912.0f; /* rounds to a whole power of two, in the lowest bits */
    int32_t bits;
    memcpy(&bits, &shifted, 4);
    float power = shifted - 12582912.0f;
    float r = x - power * 0.693359375f + power * 2.12194440e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r * r + r; /* exp(r) - 1 */
    int32_t scale_bits = (bits - 0x4B400000 + 127) << 23;
    float scale;
    memcpy(&scale, &scale_bits, 4);
    return (1.0f - scale) - scale * p;
}

void ray_weights_forward(const float *densities, const float *lengths, const long *starts, long rays, long moments,
                         float *weights, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (long r = 0; r < rays; r++) {
        for (long first = 0; first < moments; first += COLUMNS) {
            long count = moments - first < COLUMNS ? moments - first : COLUMNS;
            float light[COLUMNS];
            for (long t = 0; t < COLUMNS; t++) light[t] = 1.0f;
            for (long n = starts[r]; n < starts[r + 1]; n++) {
                const float *density = densities + n * moments + first;
                float *weight = weights + n * moments + first, length = lengths[n];
                for (long t = 0; t < count; t++) {
                    weight[t] = light[t] * opacity(density[t] * length);
                    light[t] -= weight[t];
                }
            }
        }
    }
}

/* A depth takes light from all that is behind it: its gradient is that of its own weight times the light it leaves,
 * less the sum of weights times gradients behind it. */
void ray_weights_backward(const float *weights, const float *lengths, const long *starts, long rays, long moments,
                          const float *upstream, float *gradients, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (long r = 0; r < rays; r++) {
        for (long first = 0; first < moments; first += COLUMNS) {
            long count = moments - first < COLUMNS ? moments - first : COLUMNS;
            float light[COLUMNS], behind[COLUMNS] = {0.0f};
            for (long t = 0; t < COLUMNS; t++) light[t] = 1.0f;
            for (long n = starts[r]; n < starts[r + 1]; n++) {
                const float *weight = weights + n * moments + first;
                for (long t = 0; t < count; t++) light[t] -= weight[t];
            }
            for (long n = starts[r + 1] - 1; n >= starts[r]; n--) {
                const float *weight = weights + n * moments + first, *above = upstream + n * moments + first;
                float *gradient = gradients + n * moments + first, length = lengths[n];
                for (long t = 0; t < count; t++) {
                    gradient[t] = length * (above[t] * light[t] - behind[t]);
                    behind[t] += above[t] * weight[t];
                    light[t] += weight[t];
                }
            }
        }
    }
}
