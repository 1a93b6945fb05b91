/* Colours of Gaussians from real spherical harmonics, in the order of syncnerf.encodings.spherical_harmonics. */
#ifndef COLOUR_H
#define COLOUR_H

#include "scene.h"

static inline void harmonic_values(const Lanes *d, int count, Lanes *v) {
    Lanes x = d[0], y = d[1], z = d[2], xx = x * x, yy = y * y, zz = z * z;
    v[0] = all(0.28209479177387814f);
    if (count < 4) return;
    v[1] = -0.48860251190291987f * y, v[2] = 0.48860251190291987f * z, v[3] = -0.48860251190291987f * x;
    if (count < 9) return;
    v[4] = 1.0925484305920792f * x * y, v[5] = -1.0925484305920792f * y * z;
    v[6] = 0.31539156525252005f * (3 * zz - 1), v[7] = -1.0925484305920792f * x * z;
    v[8] = 0.5462742152960396f * (xx - yy);
    if (count < 16) return;
    v[9] = -0.5900435899266435f * y * (3 * xx - yy), v[10] = 2.890611442640554f * x * y * z;
    v[11] = -0.4570457994644657f * y * (5 * zz - 1), v[12] = 0.3731763325901154f * z * (5 * zz - 3);
    v[13] = -0.4570457994644657f * x * (5 * zz - 1), v[14] = 1.445305721320277f * z * (xx - yy);
    v[15] = -0.5900435899266435f * x * (xx - 3 * yy);
}

static inline void three(Lanes *out, Lanes x, Lanes y, Lanes z) { out[0] = x, out[1] = y, out[2] = z; }

/* Slopes of the values by the direction, as of polynomials in space. */
static inline void harmonic_slopes(const Lanes *d, int count, Lanes (*g)[3]) {
    Lanes x = d[0], y = d[1], z = d[2], xx = x * x, yy = y * y, zz = z * z;
    const Lanes none = all(0.0f);
    three(g[0], none, none, none);
    if (count < 4) return;
    const float first = 0.48860251190291987f;
    three(g[1], none, all(-first), none), three(g[2], none, none, all(first)), three(g[3], all(-first), none, none);
    if (count < 9) return;
    const float mixed = 1.0925484305920792f;
    three(g[4], mixed * y, mixed * x, none), three(g[5], none, -mixed * z, -mixed * y);
    three(g[6], none, none, 0.31539156525252005f * 6 * z), three(g[7], -mixed * z, none, -mixed * x);
    three(g[8], mixed * x, -mixed * y, none);
    if (count < 16) return;
    const float outer = 0.5900435899266435f * 3, inner = 0.4570457994644657f, pole = 0.3731763325901154f;
    const float cube = 2.890611442640554f, ring = 1.445305721320277f;
    three(g[9], -2 * outer * x * y, -outer * (xx - yy), none), three(g[10], cube * y * z, cube * x * z, cube * x * y);
    three(g[11], none, -inner * (5 * zz - 1), -10 * inner * y * z), three(g[12], none, none, pole * (15 * zz - 3));
    three(g[13], -inner * (5 * zz - 1), none, -10 * inner * x * z);
    three(g[14], 2 * ring * x * z, -2 * ring * y * z, ring * (xx - yy));
    three(g[15], -outer * (xx - yy), 2 * outer * x * y, none);
}

/* The colours of Gaussians with harmonics `own` [B][3], seen along unit directions. */
static inline void find_colour(const Scene *s, const Lanes *own, const Lanes *direction, Lanes *colour) {
    Lanes values[16];
    harmonic_values(direction, s->harmonics, values);
    for (int c = 0; c < 3; c++) colour[c] = all(0.5f);
    for (int k = 0; k < s->harmonics; k++) add_scaled(colour, own + 3 * k, values[k]);
    for (int c = 0; c < 3; c++) colour[c] = choose(colour[c] > 0.0f, colour[c], colour[c] - colour[c]); /* keeps NaN */
}

/* From the slope by the colour to those by the harmonics [B][3] and by the direction. */
static inline void colour_slopes(const Scene *s, const Lanes *own, const Lanes *direction, const Lanes *colour,
                                 const Lanes *slope, Lanes *by_own, Lanes *by_direction) {
    Lanes values[16], slopes[16][3], masked[3];
    for (int c = 0; c < 3; c++) masked[c] = keep(colour[c] > 0.0f, slope[c]), by_direction[c] = all(0.0f);
    harmonic_values(direction, s->harmonics, values);
    for (int k = 0; k < s->harmonics; k++)
        for (int c = 0; c < 3; c++) by_own[3 * k + c] = masked[c] * values[k];
    if (s->harmonics == 1) return;
    harmonic_slopes(direction, s->harmonics, slopes);
    for (int k = 1; k < s->harmonics; k++) add_scaled(by_direction, slopes[k], dot(masked, own + 3 * k));
}

/* How the colour changes as the direction does. */
static inline void colour_rate(const Scene *s, const Lanes *own, const Lanes *direction, const Lanes *colour,
                               const Lanes *rate, Lanes *out) {
    Lanes slopes[16][3];
    for (int c = 0; c < 3; c++) out[c] = all(0.0f);
    if (s->harmonics == 1) return;
    harmonic_slopes(direction, s->harmonics, slopes);
    for (int k = 1; k < s->harmonics; k++) add_scaled(out, own + 3 * k, dot(slopes[k], rate));
    for (int c = 0; c < 3; c++) out[c] = keep(colour[c] > 0.0f, out[c]);
}

#endif
