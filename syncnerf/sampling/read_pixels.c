/* Reads many short pieces of files. Reads, unlike touching a mapping, leave nothing in the process's memory. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Pieces of one file that lie so close together are read at once; pieces are shared out to threads in blocks. */
enum { SPAN = 4096, BLOCK = 128 };

typedef struct {
    const int *files;
    const int64_t *offsets;
    int64_t bytes;
    uint8_t *out;
} Pieces;

/* The piece after the last that is read together with piece `first`. */
static int64_t run_end(const Pieces *pieces, int64_t first, int64_t end) {
    int64_t k = first + 1;
    while (k < end && pieces->files[k] == pieces->files[first] && pieces->offsets[k] >= pieces->offsets[first] &&
           pieces->offsets[k] + pieces->bytes - pieces->offsets[first] <= SPAN)
        ++k;
    return k;
}

/* Read pieces `first` to `end - 1`; `at_once`: only if that needs no waiting for the disk. Returns whether it has. */
static int read_run(const Pieces *pieces, int64_t first, int64_t end, int at_once) {
    uint8_t buffer[SPAN];
    int64_t start = pieces->offsets[first], size = pieces->bytes;
    for (int64_t k = first; k < end; ++k)
        if (pieces->offsets[k] + pieces->bytes - start > size)
            size = pieces->offsets[k] + pieces->bytes - start;
    ssize_t got = -1;
    if (!at_once) {
        got = pread(pieces->files[first], buffer, size, start);
    } else {
#ifdef RWF_NOWAIT
        struct iovec place = {buffer, size};
        got = preadv2(pieces->files[first], &place, 1, start, RWF_NOWAIT);
#endif
        if (got != size)
            posix_fadvise(pieces->files[first], start, size, POSIX_FADV_WILLNEED);
    }
    if (got != size)
        return 0;
    for (int64_t k = first; k < end; ++k)
        memcpy(pieces->out + k * pieces->bytes, buffer + (pieces->offsets[k] - start), pieces->bytes);
    return 1;
}

/* out[k * bytes ...] = the bytes (SPAN at most) at offsets[k] of files[k]; returns 0, or how many reads have failed.

   What the system holds in memory is taken first, and the rest asked for; it then comes from the disk all at once
   instead of piece after piece. */
int read_pieces(const int *files, const int64_t *offsets, int64_t count, int64_t bytes, uint8_t *out) {
    const Pieces pieces = {files, offsets, bytes, out};
    uint8_t *missing = calloc(count ? count : 1, 1);
    int failed = missing ? 0 : 1;
    for (int at_once = 1; missing && at_once >= 0; --at_once) {
#pragma omp parallel for schedule(static) reduction(+ : failed)
        for (int64_t start = 0; start < count; start += BLOCK) {
            const int64_t end = start + BLOCK < count ? start + BLOCK : count;
            for (int64_t k = start, next; k < end; k = next) {
                next = run_end(&pieces, k, end);
                if (at_once)
                    missing[k] = !read_run(&pieces, k, next, 1);
                else if (missing[k])
                    failed += !read_run(&pieces, k, next, 0);
            }
        }
    }
    free(missing);
    return failed;
}
