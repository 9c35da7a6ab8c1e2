/* Allocation: for bookkeeping that may abort, for sizes that a request decides, and arenas for what
 * ends together. */
#include "base/base.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BLOCK = 16 * 1024 };

struct cn_arena_block {
    struct cn_arena_block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
};

static void *or_die(void *p)
{
    if (p == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return p;
}

void *cn_xmalloc(size_t size)
{
    return or_die(malloc(size ? size : 1));
}

void *cn_xcalloc(size_t n, size_t size)
{
    return or_die(calloc(n ? n : 1, size ? size : 1));
}

void *cn_xrealloc(void *p, size_t size)
{
    return or_die(realloc(p, size ? size : 1));
}

static _Thread_local unsigned long times_no_memory;

void cn_note_no_memory(void)
{
    times_no_memory++;
}

unsigned long cn_times_no_memory(void)
{
    return times_no_memory;
}

void *cn_noting_malloc(size_t size)
{
    void *p = malloc(size ? size : 1);

    if (p == NULL)
        cn_note_no_memory();
    return p;
}

char *cn_xstrdup(const char *s)
{
    return or_die(strdup(s));
}

char *cn_xvprintf(const char *fmt, va_list ap)
{
    char *s = NULL;

    if (vasprintf(&s, fmt, ap) < 0)
        s = NULL;
    return or_die(s);
}

char *cn_xprintf(const char *fmt, ...)
{
    va_list ap;
    char *s;

    va_start(ap, fmt);
    s = cn_xvprintf(fmt, ap);
    va_end(ap);
    return s;
}

void *cn_try_alloc(size_t size)
{
    void *p = NULL;
    size_t padded;

    if (!cn_add_size(size ? size : 1, 63, &padded))
        return NULL;
    if (posix_memalign(&p, 64, padded & ~(size_t)63) != 0)
        return NULL;
    return p;
}

bool cn_mul_size(size_t a, size_t b, size_t *ret)
{
    size_t r;

    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *ret = r;
    return true;
}

bool cn_add_size(size_t a, size_t b, size_t *ret)
{
    size_t r;

    if (__builtin_add_overflow(a, b, &r))
        return false;
    *ret = r;
    return true;
}

void *cn_grow(void *array, size_t count, size_t *capacity, size_t element_size)
{
    size_t bytes;

    if (count < *capacity)
        return array;
    *capacity = *capacity ? *capacity * 2 : 8;
    CN_ASSERT(cn_mul_size(*capacity, element_size, &bytes));
    return cn_xrealloc(array, bytes);
}

void cn_arena_init(struct cn_arena *a)
{
    a->head = NULL;
}

void cn_arena_release(struct cn_arena *a)
{
    struct cn_arena_block *b = a->head, *next;

    for (; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    a->head = NULL;
}

void *cn_arena_alloc(struct cn_arena *a, size_t size)
{
    struct cn_arena_block *b = a->head;
    size_t want = (size + 15) & ~(size_t)15;
    void *p;

    if (b == NULL || b->size - b->used < want) {
        size_t room = CN_MAX(want, (size_t)ARENA_BLOCK);

        b = cn_xmalloc(sizeof(*b) + room);
        b->used = 0;
        b->size = room;
        b->next = a->head;
        a->head = b;
    }
    p = b->data + b->used;
    b->used += want;
    memset(p, 0, size);
    return p;
}

char *cn_arena_strdup(struct cn_arena *a, const char *s)
{
    size_t n = strlen(s) + 1;

    return memcpy(cn_arena_alloc(a, n), s, n);
}

char *cn_arena_printf(struct cn_arena *a, const char *fmt, ...)
{
    va_list ap;
    char *s, *r;

    va_start(ap, fmt);
    s = cn_xvprintf(fmt, ap);
    va_end(ap);
    r = cn_arena_strdup(a, s);
    free(s);
    return r;
}
