/* Byte-pair merging.
 *
 * Symbols are numbered: 0..255 the bytes in vocabulary order, 256..511 the same at the end of a
 * word, then what merges produce. A pair of symbols has at most one merge; its rank is its
 * priority. The pairs of a word wait in a heap ordered by (rank, position), so that a word of n
 * bytes takes n log n steps, whatever its letters: a prompt may be one word of 256 KiB.
 */
#include "base/base.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include "text/text_priv.h"

#include <stdlib.h>
#include <string.h>

enum { END = 256 }; /* from a symbol to the same at the end of a word */

struct merge {
    int32_t left, right; /* left -1: the slot is free */
    uint32_t rank;
    int32_t result;
};

struct cn_bpe {
    struct cn_strmap names; /* text -> index + 1 */
    int32_t *id;            /* of every symbol, after cn_bpe_bind() */
    struct merge *slot;     /* open addressing, at most half full */
    size_t slots, merges;
    uint8_t rank_of_byte[256];
};

void cn_bpe_byte_symbol(unsigned rank, char text[5], unsigned *ret_byte)
{
    /* Bytes that print stand for themselves and come first: 33-126, 161-172, 174-255. The other
     * 68 follow in their order as U+0100, U+0101, ... */
    unsigned byte, cp;

    if (rank < 94)
        cp = byte = rank + 33;
    else if (rank < 106)
        cp = byte = rank - 94 + 161;
    else if (rank < 188)
        cp = byte = rank - 106 + 174;
    else {
        cp = rank - 188 + 256;
        byte = rank - 188;
        byte = byte < 33 ? byte : byte < 67 ? byte - 33 + 127 : 173;
    }
    text[cn_utf8_put(text, cp)] = '\0';
    *ret_byte = byte;
}

static int32_t intern(struct cn_bpe *b, const char *text)
{
    uintptr_t at = (uintptr_t)cn_strmap_get(&b->names, text);

    if (at == 0) {
        at = b->names.count + 1;
        cn_strmap_add(&b->names, text, (void *)at);
    }
    return (int32_t)(at - 1);
}

struct cn_bpe *cn_bpe_new(void)
{
    struct cn_bpe *b = cn_xcalloc(1, sizeof(*b));
    char text[16];
    unsigned byte;

    cn_strmap_init(&b->names);
    for (int end = 0; end < 2; end++)
        for (unsigned r = 0; r < 256; r++) {
            cn_bpe_byte_symbol(r, text, &byte);
            b->rank_of_byte[byte] = (uint8_t)r;
            if (end)
                memcpy(text + strlen(text), "</w>", sizeof("</w>"));
            intern(b, text);
        }
    return b;
}

void cn_bpe_free(struct cn_bpe *b)
{
    if (b == NULL)
        return;
    cn_strmap_release(&b->names);
    free(b->id);
    free(b->slot);
    free(b);
}

static struct merge *find(const struct cn_bpe *b, int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)(h >> 32) & (b->slots - 1);

    while (b->slot[i].left >= 0 && (b->slot[i].left != left || b->slot[i].right != right))
        i = (i + 1) & (b->slots - 1);
    return &b->slot[i];
}

static void grow(struct cn_bpe *b)
{
    struct merge *old = b->slot;
    size_t n = b->slots;

    b->slots = n ? n * 2 : 1024;
    b->slot = cn_xcalloc(b->slots, sizeof(*b->slot));
    for (size_t i = 0; i < b->slots; i++)
        b->slot[i].left = -1;
    for (size_t i = 0; i < n; i++)
        if (old[i].left >= 0)
            *find(b, old[i].left, old[i].right) = old[i];
    free(old);
}

void cn_bpe_merge(struct cn_bpe *b, const char *left, const char *right)
{
    char *text = cn_xprintf("%s%s", left, right);
    struct merge m = {.left = intern(b, left), .right = intern(b, right)};

    if ((b->merges + 1) * 2 > b->slots)
        grow(b);
    m.result = intern(b, text);
    m.rank = (uint32_t)b->merges++;
    *find(b, m.left, m.right) = m; /* a pair that is there twice has its last rank */
    free(text);
}

void cn_bpe_bind(struct cn_bpe *b, cn_bpe_id_fn ids, void *ctx, int32_t unknown)
{
    if (b->slots == 0)
        grow(b);
    free(b->id);
    b->id = cn_xcalloc(b->names.count, sizeof(*b->id));
    for (size_t i = 0; i < b->names.count; i++) {
        int32_t id = ids(ctx, b->names.item[i].key);

        b->id[i] = id >= 0 ? id : unknown;
    }
}

const char *cn_bpe_symbol(const struct cn_bpe *b, size_t i)
{
    return i < b->names.count ? b->names.item[i].key : NULL;
}

/* One word on its way: a list of symbols in place of its bytes, and the pairs that can merge. */
struct word {
    int32_t *symbol;          /* -1: swallowed by its left neighbour */
    int32_t *next, *previous; /* positions; -1 at the ends */
    uint64_t *heap;           /* rank << 32 | position, the smallest on top */
    size_t n_heap;
    uint32_t *fresh; /* positions whose pair is new since the last round */
    size_t n_fresh;
};

static void push(struct word *w, uint64_t key)
{
    size_t i = w->n_heap++;

    while (i > 0 && w->heap[(i - 1) / 2] > key) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = key;
}

static uint64_t pop(struct word *w)
{
    uint64_t top = w->heap[0], key = w->heap[--w->n_heap];
    size_t i = 0, c;

    while ((c = 2 * i + 1) < w->n_heap) {
        if (c + 1 < w->n_heap && w->heap[c + 1] < w->heap[c])
            c++;
        if (w->heap[c] >= key)
            break;
        w->heap[i] = w->heap[c];
        i = c;
    }
    w->heap[i] = key;
    return top;
}

/* The merge of the symbol at i and its right neighbour, or NULL. */
static const struct merge *merge_at(const struct cn_bpe *b, const struct word *w, int32_t i)
{
    const struct merge *m;

    if (i < 0 || w->symbol[i] < 0 || w->next[i] < 0)
        return NULL;
    m = find(b, w->symbol[i], w->symbol[w->next[i]]);
    return m->left >= 0 ? m : NULL;
}

static void offer(const struct cn_bpe *b, struct word *w, int32_t i)
{
    const struct merge *m = merge_at(b, w, i);

    if (m != NULL)
        push(w, (uint64_t)m->rank << 32 | (uint32_t)i);
}

static void join(struct word *w, int32_t i, int32_t result)
{
    int32_t gone = w->next[i];

    w->symbol[i] = result;
    w->symbol[gone] = -1;
    w->next[i] = w->next[gone];
    if (w->next[i] >= 0)
        w->previous[w->next[i]] = i;
    w->fresh[w->n_fresh++] = (uint32_t)i;
    if (w->previous[i] >= 0)
        w->fresh[w->n_fresh++] = (uint32_t)w->previous[i];
}

/* Rounds as the reference has them: all occurrences of the best pair, left to right; pairs that
 * come to be in a round compete from the next one on. */
static void merge_all(const struct cn_bpe *b, struct word *w)
{
    while (w->n_heap > 0) {
        uint32_t rank = (uint32_t)(w->heap[0] >> 32);

        w->n_fresh = 0;
        while (w->n_heap > 0 && (uint32_t)(w->heap[0] >> 32) == rank) {
            int32_t i = (int32_t)(uint32_t)pop(w);
            const struct merge *m = merge_at(b, w, i);

            if (m != NULL && m->rank == rank)
                join(w, i, m->result);
        }
        for (size_t k = 0; k < w->n_fresh; k++)
            offer(b, w, (int32_t)w->fresh[k]);
    }
}

/* One allocation for everything: 3 * 4 + 8 * 4 + 4 * 2 bytes per byte of the word. A merge adds at
 * most two pairs and there are fewer merges than bytes, so that 4n entries are enough. */
static bool word_init(struct word *w, const struct cn_bpe *b, const unsigned char *text, size_t n)
{
    char *p = cn_try_alloc(n * (4 * 8 + 3 * 4 + 2 * 4));

    if (p == NULL)
        return false;
    *w = (struct word){.heap = (uint64_t *)(void *)p};
    w->symbol = (int32_t *)(void *)(p + n * 32);
    w->next = w->symbol + n;
    w->previous = w->next + n;
    w->fresh = (uint32_t *)(void *)(w->previous + n);
    for (size_t i = 0; i < n; i++) {
        w->symbol[i] = b->rank_of_byte[text[i]];
        w->next[i] = i + 1 < n ? (int32_t)i + 1 : -1;
        w->previous[i] = (int32_t)i - 1;
    }
    w->symbol[n - 1] += END;
    return true;
}

int cn_bpe_word(const struct cn_bpe *b, const unsigned char *word, size_t len, struct cn_ids *out,
                struct cn_err *err)
{
    struct word w;

    if (!word_init(&w, b, word, len))
        return cn_fail(err, CN_ENOMEM, "no memory for a word of %zu bytes", len);
    for (size_t i = 0; i < len; i++)
        offer(b, &w, (int32_t)i);
    merge_all(b, &w);
    for (int32_t i = 0; i >= 0; i = w.next[i]) {
        if (out->n < out->max)
            out->id[out->n] = b->id[w.symbol[i]];
        out->n++;
    }
    free(w.heap);
    return CN_OK;
}
