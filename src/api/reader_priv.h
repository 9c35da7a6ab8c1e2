/* Shared by the dialects' readers: typed members of JSON objects, in tables, to where they go. Any
 * thread.
 *
 *     static const struct cn_member members[] = {
 *         {"steps", cn_read_int, offsetof(struct cn_spec, steps), NULL}, ... };
 *     static int read_root(struct cn_reader *r, const json_t *root) {
 *         return cn_read_members(r, root, members, CN_LEN(members), "", r->spec);
 *     }
 *     ... return cn_reader_run(in, &dialect, spec, err);
 *
 * Each function returns CN_OK or r->err's code, with the place of the fault as a JSON pointer.
 */
#ifndef CN_API_READER_PRIV_H
#define CN_API_READER_PRIV_H

#include "base/base.h"
#include "api/request.h"
#include "api/skeleton.h"

#include <jansson.h>

struct cn_reader {
    struct cn_api_input *in;
    const struct cn_skeleton *sk;
    struct cn_spec *spec;
    size_t total; /* bytes of the images so far */
    bool takes_webhook;
    /* What is harmless is taken: numbers and booleans as strings, "" for nothing, unknown members,
     * which are warned of in in->beside. */
    bool is_loose;
    bool takes_unknown; /* only members that are not known */
    struct cn_err *err;
};

typedef int (*cn_read_fn)(struct cn_reader *r, const json_t *v, const char *where, void *target,
                          const struct cn_enum *e);

/* A member: what it is called, how it is read, where it goes. */
struct cn_member {
    const char *name;
    cn_read_fn read;
    size_t offset;
    const struct cn_enum *e;
};

/* "an object", "a list", ...: for messages. */
const char *cn_json_type_name(const json_t *v);

/* "expected X, got Y" */
int cn_read_wrong_type(struct cn_reader *r, const json_t *v, const char *where,
                       const char *expected);

/* Targets: char * (replaced, owned), int, double, bool, an enum. */
int cn_read_text(struct cn_reader *r, const json_t *v, const char *where, void *target,
                 const struct cn_enum *e);
int cn_read_int(struct cn_reader *r, const json_t *v, const char *where, void *target,
                const struct cn_enum *e);
int cn_read_real(struct cn_reader *r, const json_t *v, const char *where, void *target,
                 const struct cn_enum *e);
int cn_read_bool(struct cn_reader *r, const json_t *v, const char *where, void *target,
                 const struct cn_enum *e);
int cn_read_enum(struct cn_reader *r, const json_t *v, const char *where, void *target,
                 const struct cn_enum *e);

/* request.c: the native list of controls, into r->spec. */
int cn_read_controls(struct cn_reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e);

/* For members that have no meaning here. */
int cn_read_nothing(struct cn_reader *r, const json_t *v, const char *where, void *target,
                    const struct cn_enum *e);

/* One small part may be named many times: what it becomes in memory has a limit as well. */
int cn_reader_count(struct cn_reader *r, size_t len, const char *where);

/* read_image.c. Target: an empty struct cn_blob. */
int cn_read_image(struct cn_reader *r, const json_t *v, const char *where, void *target,
                  const struct cn_enum *e);

/* For members that nothing is done with: warned of when they say something ("no" in any form, 0, 1
 * and -1 do not). */
int cn_read_unused(struct cn_reader *r, const json_t *v, const char *where, void *target,
                   const struct cn_enum *e);

/* Of a member that was read and has no effect; the beside's. */
void cn_reader_warn(struct cn_reader *r, const char *where, const char *fmt, ...) CN_PRINTF(3, 4);

/* "/controls/0" + "/" + the name with RFC 6901 escapes, cut to the buffer. */
void cn_json_pointer(char *out, size_t size, const char *base, const char *name);

/* All members of an object, each by its row of m [n]; null counts as left out. base: the object's
 * own pointer. */
int cn_read_members(struct cn_reader *r, const json_t *object, const struct cn_member *m, size_t n,
                    const char *base, void *target);

/* From the text of the request to the description: `read` fills it from the root. */
int cn_reader_run(struct cn_api_input *in, int (*read)(struct cn_reader *r, const json_t *root),
                  struct cn_spec *ret, struct cn_err *err);

#endif
