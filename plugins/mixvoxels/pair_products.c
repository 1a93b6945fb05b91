/* Inner products of points' vectors with queries, for chosen pairs of a point and a query, forward and backward.
 *
 * Layout: vectors are [points][channels][width], queries [queries][width], products and their gradients
 * [pairs][channels]. Pairs are in the order of their points; the width is a multiple of LANES.
 */
#include <stddef.h>

#define LANES 8

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline Lanes at(const float *values, long offset) { return *(const Lanes *)(values + offset); }

static inline void add(float *values, long offset, Lanes more) { *(Lanes *)(values + offset) += more; }

void pair_products_forward(const float *vectors, const float *queries, const long *points, const long *asked,
                           long pairs, long channels, long width, float *products, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (long p = 0; p < pairs; p++) {
        const float *query = queries + asked[p] * width;
        for (long c = 0; c < channels; c++) {
            const float *vector = vectors + (points[p] * channels + c) * width;
            Lanes even = {0.0f}, odd = {0.0f};
            long k = 0;
            for (; k + 2 * LANES <= width; k += 2 * LANES) {
                even += at(vector, k) * at(query, k);
                odd += at(vector, k + LANES) * at(query, k + LANES);
            }
            if (k < width) even += at(vector, k) * at(query, k);
            even += odd;
            float sum = 0.0f;
            for (int lane = 0; lane < LANES; lane++) sum += even[lane];
            products[p * channels + c] = sum;
        }
    }
}

/* Where a part of the pairs begins: at a point of its own. */
static long first_of(long part, long parts, const long *points, long pairs) {
    long first = pairs * part / parts;
    while (first > 0 && first < pairs && points[first] == points[first - 1]) first++;
    return first;
}

/* to_vectors: as the vectors, cleared; to_queries: as the queries, cleared, once for each thread; the caller sums. */
void pair_products_backward(const float *vectors, const float *queries, const long *points, const long *asked,
                            long pairs, long channels, long width, const float *upstream, float *to_vectors,
                            float *to_queries, long query_numbers, int threads) {
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (int part = 0; part < threads; part++) {
        float *own = to_queries + (size_t)part * (size_t)query_numbers;
        long stop = first_of(part + 1, threads, points, pairs);
        for (long p = first_of(part, threads, points, pairs); p < stop; p++) {
            const float *query = queries + asked[p] * width, *above = upstream + p * channels;
            for (long c = 0; c < channels; c++) {
                long place = (points[p] * channels + c) * width;
                for (long k = 0; k < width; k += LANES) {
                    add(to_vectors, place + k, above[c] * at(query, k));
                    add(own, asked[p] * width + k, above[c] * at(vectors, place + k));
                }
            }
        }
    }
}
