/* What torch.save() writes since PyTorch 1.6: a ZIP archive, nothing in it compressed, of a pickle
 * NAME/data.pkl and one member NAME/data/KEY for each storage. Of ZIP (PKWARE's APPNOTE 6.3.3) this
 * is what that needs: the central directory, with 64-bit sizes, and the local headers. */
#include "base/base.h"
#include "checkpoint/pickle_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    END_LEN = 22,     /* end of central directory record */
    END64_LEN = 56,   /* ... of 64 bits */
    LOCATOR_LEN = 20, /* ... and what says where that is */
    ENTRY_LEN = 46,   /* of the central directory, before its names */
    LOCAL_LEN = 30,   /* local header, before its names */
    MAX_COMMENT = 65535,
    MAX_DIRECTORY = 64 * 1024 * 1024,
    MAX_MEMBERS = 1000000
};

struct member {
    const char *name; /* in zip.directory, no NUL behind it */
    size_t name_len;
    uint64_t header, size; /* where its local header is; of its bytes */
    uint64_t at;           /* of its bytes; 0: not looked up yet */
    unsigned method, flags;
};

struct zip {
    const struct cn_tensor_source *s;
    unsigned char *directory;
    struct member *member; /* by name */
    size_t n;
    char *prefix; /* "NAME/" */
};

static int bad(const struct zip *z, struct cn_err *err, const char *what)
{
    return cn_fail(err, CN_EFORMAT, "\"%s\": archive: %s", z->s->path, what);
}

static int bad_member(const struct zip *z, const struct member *m, struct cn_err *err,
                      const char *what)
{
    return cn_fail(err, CN_EFORMAT, "\"%s\": archive: \"%.*s\" %s", z->s->path,
                   (int)CN_MIN(m->name_len, (size_t)100), m->name, what);
}

/* ---- the directory ---- */

struct place {
    uint64_t at, len, count;
};

/* The 64-bit record replaces numbers that do not fit into the other one. */
static int find_end64(const struct zip *z, uint64_t end_at, struct place *ret, struct cn_err *err)
{
    unsigned char locator[LOCATOR_LEN], end[END64_LEN];
    uint64_t at;
    int rc;

    if (end_at < LOCATOR_LEN)
        return CN_OK;
    rc = cn_source_read(z->s, end_at - LOCATOR_LEN, locator, LOCATOR_LEN, err);
    if (rc < 0 || memcmp(locator, "PK\6\7", 4) != 0)
        return rc;
    at = cn_little(locator + 8, 8);
    if (at > z->s->size || z->s->size - at < END64_LEN)
        return bad(z, err, "its end record is behind its end");
    rc = cn_source_read(z->s, at, end, END64_LEN, err);
    if (rc < 0)
        return rc;
    if (memcmp(end, "PK\6\6", 4) != 0)
        return bad(z, err, "its end record is not where it should be");
    *ret = (struct place){.at = cn_little(end + 48, 8),
                          .len = cn_little(end + 40, 8),
                          .count = cn_little(end + 32, 8)};
    return CN_OK;
}

/* The last record of the file, with a comment of up to 64 KiB behind it. */
static int find_directory(const struct zip *z, struct place *ret, struct cn_err *err)
{
    size_t len = (size_t)CN_MIN(z->s->size, (uint64_t)END_LEN + MAX_COMMENT), i;
    unsigned char *tail;
    int rc;

    if (len < END_LEN)
        return bad(z, err, "it is cut off");
    rc = cn_source_load(z->s, z->s->size - len, len, &tail, err);
    if (rc < 0)
        return rc;
    for (i = len - END_LEN; i > 0; i--)
        if (memcmp(tail + i, "PK\5\6", 4) == 0 && cn_little(tail + i + 20, 2) == len - END_LEN - i)
            break;
    if (memcmp(tail + i, "PK\5\6", 4) != 0) {
        rc = bad(z, err, "its directory is missing: the file is cut off");
    } else {
        *ret = (struct place){.at = cn_little(tail + i + 16, 4),
                              .len = cn_little(tail + i + 12, 4),
                              .count = cn_little(tail + i + 10, 2)};
        rc = find_end64(z, z->s->size - len + i, ret, err);
    }
    free(tail);
    if (rc == CN_OK && (ret->at > z->s->size || ret->len > z->s->size - ret->at))
        return bad(z, err, "its directory lies behind its end");
    if (rc == CN_OK && (ret->len > MAX_DIRECTORY || ret->count > MAX_MEMBERS))
        return cn_fail(err, CN_ETOOBIG, "\"%s\": archive: its directory is too large", z->s->path);
    return rc;
}

/* Numbers of 64 bits stand in an extra field, in this order, those that are all ones before. */
static void widen(const unsigned char *extra, size_t len, uint64_t *size, uint64_t *packed,
                  uint64_t *header)
{
    uint64_t *const wide[] = {size, packed, header};

    while (len >= 4) {
        size_t n = (size_t)cn_little(extra + 2, 2), at = 0;

        if (n > len - 4)
            return;
        for (size_t i = 0; cn_little(extra, 2) == 1 && i < CN_LEN(wide); i++) {
            if (*wide[i] != UINT32_MAX || n - at < 8)
                continue;
            *wide[i] = cn_little(extra + 4 + at, 8);
            at += 8;
        }
        extra += 4 + n;
        len -= 4 + n;
    }
}

/* One entry at p, of which len bytes are left; *ret_len is how many are its own. */
static int read_entry(const struct zip *z, const unsigned char *p, size_t len, struct member *m,
                      size_t *ret_len, struct cn_err *err)
{
    size_t name, extra, comment;
    uint64_t packed;

    if (len < ENTRY_LEN || memcmp(p, "PK\1\2", 4) != 0)
        return bad(z, err, "its directory is damaged");
    name = (size_t)cn_little(p + 28, 2);
    extra = (size_t)cn_little(p + 30, 2);
    comment = (size_t)cn_little(p + 32, 2);
    if (name + extra + comment > len - ENTRY_LEN)
        return bad(z, err, "its directory is damaged");
    *m = (struct member){.name = (const char *)p + ENTRY_LEN,
                         .name_len = name,
                         .flags = (unsigned)cn_little(p + 8, 2),
                         .method = (unsigned)cn_little(p + 10, 2),
                         .size = cn_little(p + 24, 4),
                         .header = cn_little(p + 42, 4)};
    packed = cn_little(p + 20, 4);
    widen(p + ENTRY_LEN + name, extra, &m->size, &packed, &m->header);
    *ret_len = ENTRY_LEN + name + extra + comment;
    if (memchr(m->name, '\0', m->name_len) != NULL)
        return bad(z, err, "a name in its directory has a NUL");
    if (m->header > z->s->size || z->s->size - m->header < LOCAL_LEN ||
        m->size > z->s->size - m->header - LOCAL_LEN)
        return bad_member(z, m, err, "ends behind the end of the file");
    if (m->method == 0 && packed != m->size)
        return bad_member(z, m, err, "has two sizes");
    return CN_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct member *x = a, *y = b;

    return x->header < y->header ? -1 : x->header > y->header;
}

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int order = memcmp(x->name, y->name, CN_MIN(x->name_len, y->name_len));

    if (order != 0)
        return order;
    return x->name_len < y->name_len ? -1 : x->name_len > y->name_len;
}

/* No byte belongs to two members, and no name either. */
static int check_members(struct zip *z, struct cn_err *err)
{
    if (z->n > 0)
        qsort(z->member, z->n, sizeof(*z->member), compare_places);
    for (size_t i = 1; i < z->n; i++) {
        const struct member *m = &z->member[i - 1];

        if (m->header + LOCAL_LEN + m->name_len + m->size > z->member[i].header)
            return bad_member(z, &z->member[i], err, "overlaps the member before it");
    }
    if (z->n > 0)
        qsort(z->member, z->n, sizeof(*z->member), compare_members);
    for (size_t i = 1; i < z->n; i++)
        if (compare_members(&z->member[i - 1], &z->member[i]) == 0)
            return bad_member(z, &z->member[i], err, "is there twice");
    return CN_OK;
}

static int read_directory(struct zip *z, struct cn_err *err)
{
    struct place d = {0};
    size_t at = 0, cap = 0;
    int rc = find_directory(z, &d, err);

    if (rc == CN_OK)
        rc = cn_source_load(z->s, d.at, (size_t)d.len, &z->directory, err);
    for (uint64_t i = 0; rc == CN_OK && i < d.count; i++) {
        size_t len = 0;

        z->member = cn_grow(z->member, z->n, &cap, sizeof(*z->member));
        rc = read_entry(z, z->directory + at, (size_t)d.len - at, &z->member[z->n], &len, err);
        z->n += rc == CN_OK;
        at += len;
    }
    return rc == CN_OK ? check_members(z, err) : rc;
}

/* ---- members ---- */

static struct member *find_member(const struct zip *z, const char *name)
{
    struct member key = {.name = name, .name_len = strlen(name)};

    return z->n == 0 ? NULL : bsearch(&key, z->member, z->n, sizeof(key), compare_members);
}

/* The local header has names of its own length before the bytes. */
static int find_data(const struct zip *z, struct member *m, struct cn_err *err)
{
    unsigned char h[LOCAL_LEN];
    uint64_t skip;
    int rc;

    if (m->at != 0)
        return CN_OK;
    if (m->method != 0)
        return bad_member(z, m, err, "is compressed, which PyTorch does not read either");
    if ((m->flags & 1) != 0)
        return bad_member(z, m, err, "is encrypted");
    rc = cn_source_read(z->s, m->header, h, LOCAL_LEN, err);
    if (rc < 0)
        return rc;
    if (memcmp(h, "PK\3\4", 4) != 0)
        return bad_member(z, m, err, "is not where the directory says");
    skip = LOCAL_LEN + cn_little(h + 26, 2) + cn_little(h + 28, 2);
    if (skip > z->s->size - m->header || m->size > z->s->size - m->header - skip)
        return bad_member(z, m, err, "ends behind the end of the file");
    m->at = m->header + skip;
    return CN_OK;
}

/* The name of the archive is that of the folder data.pkl is in. */
static int find_prefix(struct zip *z, struct cn_err *err)
{
    static const char end[] = "/data.pkl";
    size_t len = sizeof(end) - 1;

    for (size_t i = 0; i < z->n; i++) {
        const struct member *m = &z->member[i];

        if (m->name_len <= len || memcmp(m->name + m->name_len - len, end, len) != 0)
            continue;
        if (z->prefix != NULL)
            return bad(z, err, "it has two pickles");
        z->prefix = cn_xprintf("%.*s/", (int)(m->name_len - len), m->name);
    }
    return z->prefix != NULL ? CN_OK
                             : bad(z, err, "it has no data.pkl: it was not made by torch.save()");
}

/* NAME/name; *ret is NULL when there is none. */
static int member_of(const struct zip *z, const char *name, struct member **ret, struct cn_err *err)
{
    char *full = cn_xprintf("%s%s", z->prefix, name);

    *ret = find_member(z, full);
    free(full);
    return *ret != NULL ? find_data(z, *ret, err) : CN_OK;
}

static int find_storage(void *ctx, const struct cn_pickle_storage *s, uint64_t *ret_at,
                        uint64_t *ret_bytes, struct cn_err *err)
{
    const struct zip *z = ctx;
    struct member *m;
    char name[80];
    int rc;

    if ((size_t)snprintf(name, sizeof(name), "data/%s", s->key) >= sizeof(name))
        return bad(z, err, "the name of a storage is too long");
    rc = member_of(z, name, &m, err);
    if (rc == CN_OK && m == NULL)
        rc = cn_fail(err, CN_EFORMAT, "\"%s\": archive: storage \"%s\" is missing", z->s->path,
                     s->key);
    if (rc < 0)
        return rc;
    *ret_at = m->at;
    *ret_bytes = m->size;
    return CN_OK;
}

/* TorchScript is a program by design; big-endian machines write other numbers. */
static int check_kind(const struct zip *z, struct cn_err *err)
{
    unsigned char order[3];
    struct member *m;
    int rc = member_of(z, "constants.pkl", &m, err);

    if (rc < 0)
        return rc;
    if (m != NULL)
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\" is a TorchScript module, which is a program: weights are needed",
                       z->s->path);
    rc = member_of(z, "byteorder", &m, err);
    if (rc < 0 || m == NULL || m->size < sizeof(order))
        return rc;
    rc = cn_source_read(z->s, m->at, order, sizeof(order), err);
    if (rc == CN_OK && memcmp(order, "big", 3) == 0)
        rc = bad(z, err, "its numbers are big-endian");
    return rc;
}

static int read_pickle(struct zip *z, struct cn_tensor_table *ret, struct cn_err *err)
{
    struct cn_pickle p;
    struct member *m;
    unsigned char *bytes;
    uint32_t root;
    int rc = member_of(z, "data.pkl", &m, err);

    if (rc < 0)
        return rc;
    if (m->size > CN_MAX_HEADER)
        return cn_fail(err, CN_ETOOBIG, "\"%s\": the pickle of %llu bytes is over the limit of %d",
                       z->s->path, (unsigned long long)m->size, CN_MAX_HEADER);
    rc = cn_source_load(z->s, m->at, (size_t)m->size, &bytes, err);
    if (rc < 0)
        return rc;
    cn_pickle_init(&p, z->s->path, bytes, (size_t)m->size, err);
    rc = cn_pickle_run(&p, &root);
    if (rc == CN_OK)
        rc = cn_torch_table(&p, root, z->s->size, find_storage, z, ret, err);
    cn_pickle_release(&p);
    free(bytes);
    return rc;
}

int cn_torch_zip_read(const struct cn_tensor_source *s, struct cn_tensor_table *ret,
                      struct cn_err *err)
{
    struct zip z = {.s = s};
    int rc = read_directory(&z, err);

    if (rc == CN_OK)
        rc = find_prefix(&z, err);
    if (rc == CN_OK)
        rc = check_kind(&z, err);
    if (rc == CN_OK)
        rc = read_pickle(&z, ret, err);
    free(z.member);
    free(z.directory);
    free(z.prefix);
    return rc;
}
