/* A store in a directory of its own, with a loop to wait on. */
#ifndef CN_TESTS_STORE_RIG_H
#define CN_TESTS_STORE_RIG_H

#include "store/store.h"

#include <uv.h>

struct rig {
    uv_loop_t loop;
    struct cn_store_options o;
    struct cn_store *s;
    char dir[64];
    int opened; /* calls of on_open */
    int open_rc;
    char open_why[400];
};

/* A new directory under the system's for temporary files; nothing is opened yet. */
void rig_init(struct rig *r);
void rig_init_at(struct rig *r, const char *dir);

/* Opens and waits for on_open. */
int rig_open(struct rig *r, struct cn_err *err);
void rig_close(struct rig *r);

/* Closes and removes the directory. */
void rig_end(struct rig *r);
void rig_remove(const char *path); /* a file, or a directory with all in it */

/* Turns the loop until *what is at least n; false after a minute. */
bool rig_until(struct rig *r, const int *what, int n);

/* An end as it was told. */
struct heard {
    int n;
    struct cn_store_done last;
};

void rig_hear(void *arg, const struct cn_store_done *done);

/* A job with this number in its id (odd: and a webhook), n pictures; image_bytes > 0: and an init
 * image of so many. */
void rig_job(struct cn_store_job *j, const char *tenant, int number, int n);
void rig_spec(struct cn_spec *s, int n, size_t image_bytes);
void rig_id(char id[CN_STORE_ID], int number); /* of that job */

/* Behind the store's back. */
void rig_sql(const struct rig *r, const char *text);

/* The whole way of one operation; how it ended (0: CN_STORE_OK), or the code of its refusal. */
int rig_add(struct rig *r, int number, int n, size_t image_bytes);
int rig_result(struct rig *r, const char *id, int k, size_t bytes);
int rig_finish(struct rig *r, const char *id, enum cn_store_state state, struct heard *h);

/* Questions, waited for: CN_OK (0) or how they ended (enum cn_store_outcome). */
int rig_get(struct rig *r, const char *id, struct cn_store_job *ret);
int rig_inputs(struct rig *r, const char *id, struct cn_spec *ret);
int rig_results(struct rig *r, const char *id, struct cn_store_result *ret, int max, int *ret_n);
int rig_open_result(struct rig *r, const char *id, int k, struct cn_store_result *ret, int *ret_fd);
int rig_find_key(struct rig *r, const struct cn_store_key *key, char ret_id[CN_STORE_ID],
                 unsigned char ret_fingerprint[CN_STORE_FINGERPRINT]);

/* "id2:state:attempt " of each row is added to text (400 bytes). q NULL: the unfinished ones. */
int rig_list(struct rig *r, const struct cn_store_query *q, char *text);

/* The bytes that rig_result writes. */
unsigned char *rig_picture(const char *id, int k, size_t bytes);

/* Holds database and files of a closed or open directory against each other: the number of things
 * that are wrong, each told on stderr. */
int rig_check(const char *dir);

#endif
