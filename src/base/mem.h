/* Memory: bookkeeping that may abort, sizes that may not overflow, arenas that carry lifetimes.
 *
 * Any thread (an arena belongs to one thread at a time).
 *
 *     struct cn_arena a;
 *     cn_arena_init(&a);
 *     char *name = cn_arena_printf(&a, "%s.weight", prefix);   -- lives until:
 *     cn_arena_release(&a);
 */
#ifndef CN_BASE_MEM_H
#define CN_BASE_MEM_H

#include "base/base.h"

#include <stdarg.h>

/* For small sizes that no request or file decides: abort when there is no memory. */
void *cn_xmalloc(size_t size) CN_MUST_USE;
void *cn_xcalloc(size_t n, size_t size) CN_MUST_USE;
void *cn_xrealloc(void *p, size_t size) CN_MUST_USE;
char *cn_xstrdup(const char *s) CN_MUST_USE;
char *cn_xprintf(const char *fmt, ...) CN_PRINTF(1, 2) CN_MUST_USE;
char *cn_xvprintf(const char *fmt, va_list ap) CN_PRINTF(1, 0) CN_MUST_USE;

/* For sizes that a request or a file influences: aligned to 64 bytes, NULL when refused.
 * Release with free(). size 0 gives a valid pointer. */
void *cn_try_alloc(size_t size) CN_MUST_USE;

/* malloc() for libraries that go on without what they could not get, and tell nobody: the failures
 * of the calling thread are counted. */
void *cn_noting_malloc(size_t size) CN_MUST_USE;
void cn_note_no_memory(void); /* one more */
unsigned long cn_times_no_memory(void);

/* *ret = a * b (a + b); false on overflow, and then *ret is unchanged. */
bool cn_mul_size(size_t a, size_t b, size_t *ret) CN_MUST_USE;
bool cn_add_size(size_t a, size_t b, size_t *ret) CN_MUST_USE;

/* Makes room for one more element in a growing array: returns the (moved) array. */
void *cn_grow(void *array, size_t count, size_t *capacity, size_t element_size) CN_MUST_USE;

struct cn_arena {
    struct cn_arena_block *head;
};

void cn_arena_init(struct cn_arena *a);
void cn_arena_release(struct cn_arena *a);
void *cn_arena_alloc(struct cn_arena *a, size_t size) CN_MUST_USE; /* zeroed, 16-aligned */
char *cn_arena_strdup(struct cn_arena *a, const char *s) CN_MUST_USE;
char *cn_arena_printf(struct cn_arena *a, const char *fmt, ...) CN_PRINTF(2, 3) CN_MUST_USE;

#endif
