/* Morphology of thin lines, as the ControlNet extension thins its maps after a resampling. Outside
 * of the picture nothing is set and nothing blocks. */
#include "base/base.h"
#include "image/map_thin.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static uint8_t at(const uint8_t *px, int w, int h, int x, int y, uint8_t outside)
{
    return x < 0 || y < 0 || x >= w || y >= h ? outside : px[(size_t)y * (size_t)w + (size_t)x];
}

static uint8_t *copy_of(const uint8_t *px, int w, int h)
{
    uint8_t *copy = cn_try_alloc((size_t)w * (size_t)h);

    if (copy != NULL)
        memcpy(copy, px, (size_t)w * (size_t)h);
    return copy;
}

int cn_map_ridges(uint8_t *px, int w, int h)
{
    static const int across[4][2] = {{1, 0}, {0, 1}, {1, 1}, {1, -1}};
    uint8_t *from = copy_of(px, w, h);

    if (from == NULL)
        return CN_ENOMEM;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++, px++) {
            bool ridge = false;

            for (int i = 0; i < 4 && !ridge; i++) {
                int dx = across[i][0], dy = across[i][1];

                ridge = at(from, w, h, x - dx, y - dy, 0) <= *px &&
                        at(from, w, h, x + dx, y + dy, 0) <= *px;
            }
            if (!ridge)
                *px = 0;
        }
    free(from);
    return CN_OK;
}

/* Least or greatest of the nine. */
static int extreme(uint8_t *px, int w, int h, bool greatest)
{
    uint8_t *from = copy_of(px, w, h);

    if (from == NULL)
        return CN_ENOMEM;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++, px++)
            for (int i = 0; i < 9; i++) {
                uint8_t v = at(from, w, h, x + i % 3 - 1, y + i / 3 - 1, greatest ? 0 : 255);

                *px = greatest ? CN_MAX(*px, v) : CN_MIN(*px, v);
            }
    free(from);
    return CN_OK;
}

int cn_map_open(uint8_t *px, int w, int h)
{
    int rc = extreme(px, w, h, false);

    return rc < 0 ? rc : extreme(px, w, h, true);
}

/* 1: must be set; -1: must be clear. Rows from top to bottom. */
static const int8_t thinning[2][9] = {{-1, -1, -1, 0, 1, 0, 1, 1, 1},
                                      {0, -1, -1, 1, 1, -1, 0, 1, 0}};
static const int8_t pruning[2][9] = {{-1, -1, -1, -1, 1, -1, 0, 0, -1},
                                     {-1, -1, -1, -1, 1, -1, -1, 0, 0}};

/* A quarter turn, counter-clockwise. */
static void turn(int8_t k[9])
{
    int8_t from[9];

    memcpy(from, k, sizeof(from));
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++)
            k[3 * y + x] = from[3 * x + 2 - y];
}

/* Beyond the border both kinds of neighbours are as wanted. */
static bool matches(const uint8_t *px, int w, int h, int x, int y, const int8_t k[9])
{
    for (int i = 0; i < 9; i++) {
        int nx = x + i % 3 - 1, ny = y + i / 3 - 1;

        if (k[i] == 0 || nx < 0 || ny < 0 || nx >= w || ny >= h)
            continue;
        if ((px[(size_t)ny * (size_t)w + (size_t)nx] != 0) != (k[i] > 0))
            return false;
    }
    return true;
}

/* Clears all pixels that match at once; how many. work [h, w]. */
static size_t clear_matches(uint8_t *px, int w, int h, const int8_t k[9], uint8_t *work)
{
    size_t n = 0;

    memcpy(work, px, (size_t)w * (size_t)h);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            size_t i = (size_t)y * (size_t)w + (size_t)x;

            if (work[i] == 0 || !matches(work, w, h, x, y, k))
                continue;
            px[i] = 0;
            n++;
        }
    return n;
}

static size_t pass(uint8_t *px, int w, int h, const int8_t kernel[2][9], uint8_t *work)
{
    int8_t k[2][9];
    size_t n = 0;

    memcpy(k, kernel, sizeof(k));
    for (int quarter = 0; quarter < 4; quarter++)
        for (int i = 0; i < 2; i++) {
            n += clear_matches(px, w, h, k[i], work);
            turn(k[i]);
        }
    return n;
}

int cn_map_thin(uint8_t *px, int w, int h, bool prune)
{
    enum { PASSES = 32 };
    size_t n = (size_t)w * (size_t)h;
    uint8_t *work = cn_try_alloc(n);

    if (work == NULL)
        return CN_ENOMEM;
    for (size_t i = 0; i < n; i++)
        px[i] = px[i] > 127 ? 255 : 0;
    for (int i = 0; i < PASSES && pass(px, w, h, thinning, work) > 0; i++)
        ;
    if (prune)
        pass(px, w, h, pruning, work);
    free(work);
    return CN_OK;
}
