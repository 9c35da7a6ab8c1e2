/* Shared by the files of store/.
 *
 *     store.c      what the loop calls: operations and questions are made here
 *     sqlite.c ... an engine: see sqlite_priv.h
 *     engine.c     what an engine calls: ends are told to the loop
 *     op.c         operations, their lists and their memory
 *
 * An engine is a struct of functions. It gets whole operations (struct cn_op) and tells their ends;
 * what an operation means is in store.h. One over a network would send them, and need no thread.
 */
#ifndef CN_STORE_STORE_PRIV_H
#define CN_STORE_STORE_PRIV_H

#include "base/buf.h"
#include "store/store.h"

#include <stdatomic.h>
#include <sys/queue.h>

/* ---- operations ---- */

enum cn_op_kind {
    CN_OP_ADD,
    CN_OP_START,
    CN_OP_RESULT,
    CN_OP_END,
    CN_OP_DROP,
    CN_OP_DELIVERY,
    CN_OP_SWEEP,
    CN_OP_GET, /* from here on: questions */
    CN_OP_INPUTS,
    CN_OP_PICTURE,
    CN_OP_LIST,
    CN_OP_UNFINISHED,
    CN_OP_KEY,
    CN_OP_WEBHOOKS
};

/* Given by the loop, then the engine's, and the loop's again when its end is told. */
struct cn_op {
    STAILQ_ENTRY(cn_op) link;
    enum cn_op_kind kind;
    size_t bytes; /* counted in op_bytes */
    cn_store_done_fn done;
    cn_store_answer_fn answered; /* of a question; NULL: nobody wants to know */
    void *arg;
    atomic_bool forgotten; /* a question that needs no answer any more */
    struct cn_store_done out;
    char id[CN_STORE_ID];

    bool pending;     /* engine: out is not decided yet */
    int64_t first_ns; /* engine: when it was tried first; 0: not yet */

    struct cn_store_job *job; /* ADD; its spec is not used */
    char *model;              /* ADD, LIST */
    struct cn_buf light, lens;
    const struct cn_spec *spec; /* ADD: the caller's, with its images */
    size_t payload_bytes;       /* of what they become; 0: there are none */
    char *tenant, *route, *key; /* of a key, KEY and ADD (key NULL: none); tenant: also LIST */
    unsigned char fingerprint[CN_STORE_FINGERPRINT];

    struct cn_store_result result; /* RESULT */
    unsigned char *data;
    char *path; /* engine: of the file, once it is there */

    struct cn_store_end end;           /* END; attempt and deaths also START */
    char *warnings;                    /* END */
    struct cn_store_delivery delivery; /* DELIVERY */
    char *url, *host, *context;        /* ADD; NULL: no webhook */
    bool queued;                       /* START */

    int k;                       /* PICTURE; WEBHOOKS: so many of one host */
    int limit;                   /* WEBHOOKS */
    struct cn_store_query query; /* LIST; its strings are not used */
    char before_id[CN_STORE_ID];
    int64_t after_us;               /* UNFINISHED, with before_id for those of the same moment */
    int64_t now_us;                 /* WEBHOOKS */
    struct cn_store_answer *answer; /* of a question; else NULL */
};

struct cn_op_list {
    STAILQ_HEAD(, cn_op) ops;
    size_t n;
};

/* op.c */
struct cn_op *cn_op_new(enum cn_op_kind kind, const char *id);
bool cn_op_is_question(const struct cn_op *op);
void cn_op_list_init(struct cn_op_list *l);
void cn_op_push(struct cn_op_list *l, struct cn_op *op);
struct cn_op *cn_op_pop(struct cn_op_list *l);
void cn_op_append(struct cn_op_list *to, struct cn_op_list *from);            /* empties from */
const struct cn_op *cn_op_of_job(const struct cn_op_list *l, const char *id); /* NULL: none */
void cn_op_free(struct cn_op *op);

/* Decides how it ended. */
void cn_op_end(struct cn_op *op, enum cn_store_outcome outcome, const struct cn_err *err);

/* The policy of what is tried again, in one place: an end, and how the telling of it went, always,
 * until the store closes; a picture for so long as `patience_ns` after it was tried first, unless
 * there is no room. */
bool cn_op_try_again(const struct cn_op *op, int64_t now_ns, int64_t patience_ns);

/* What a failed system call means for who wanted something. */
enum cn_store_outcome cn_store_outcome_of_errno(int error);

/* ---- engines ---- */

struct cn_store_engine {
    size_t size; /* of the engine's struct, which begins with a struct cn_store; zeroed */

    /* Looks whether it can work at all. A failure here is for good, and release follows. Tells
     * nothing yet. */
    int (*open)(struct cn_store *s, struct cn_err *err);
    void (*start)(struct cn_store *s);

    /* Takes an operation, and tells its end: cn_store_tell, from any thread, exactly once. */
    void (*give)(struct cn_store *s, struct cn_op *op);

    /* The loop's question for a picture that is kept, answered at once and without waiting for a
     * disk: a descriptor, or -1, which says nothing. */
    int (*picture_at_hand)(struct cn_store *s, const char *id, int k, enum cn_format f);

    /* What was given is done and told, then cn_store_tell_ended. */
    void (*stop)(struct cn_store *s);

    /* Waits for its threads and frees what it has (not the struct). */
    void (*release)(struct cn_store *s);
};

struct cn_store {
    const struct cn_store_engine *engine;
    struct cn_store_options o;
    char *dir, *vfs;

    /* The loop's. */
    uv_async_t async;
    bool told_open, stopping, closed;
    size_t n_ops, op_bytes; /* writing operations that were given and not told */
    size_t n_questions;

    uv_mutex_t lock; /* guards what follows */
    struct cn_op_list done;
    struct cn_store_facts facts;
    struct cn_err open_err;
    bool opened, ended;
    int64_t result_ttl_us, tombstone_ttl_us;
};

/* spec.c: a description as bytes. Any thread. light: without images, what tables and lists need.
 * lens: the lengths of the images. payload: with them, of the size that cn_store_pack says; 0 when
 * there are none. It may be large, and is made where it is written. */
int cn_store_pack(const struct cn_spec *s, struct cn_buf *light, struct cn_buf *lens,
                  size_t *ret_payload, struct cn_err *err);
int cn_store_pack_payload(const struct cn_spec *s, size_t size, struct cn_buf *payload,
                          struct cn_err *err);
bool cn_store_unpack(const void *light, size_t n, const void *lens, size_t n_lens,
                     struct cn_spec *ret);

/* engine.c. Any thread. */
void cn_store_tell(struct cn_store *s, struct cn_op *op);
void cn_store_tell_all(struct cn_store *s, struct cn_op_list *l); /* empties l */
void cn_store_tell_open(struct cn_store *s, int rc, const struct cn_err *err);
void cn_store_tell_trouble(struct cn_store *s, const struct cn_err *err); /* opening waits for it */
void cn_store_tell_ended(struct cn_store *s);

extern const struct cn_store_engine cn_store_sqlite;

#endif
