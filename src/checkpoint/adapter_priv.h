/* Shared by the files of adapters: adapter_keys.c (names), adapter_read.c (elements, notes),
 * adapter_scale.c (alpha and its like), adapter.c (the opened file), in this order. */
#ifndef CN_CHECKPOINT_ADAPTER_PRIV_H
#define CN_CHECKPOINT_ADAPTER_PRIV_H

#include "checkpoint/adapter.h"

enum { CN_ADAPTER_SITE = 256 /* bytes of a site, with the NUL */ };

struct cn_adapter_key {
    enum cn_component comp;
    enum cn_adapter_form form; /* CN_ADAPTER_FORM_COUNT: that of the part's other keys */
    enum cn_adapter_role role;
    char site[CN_ADAPTER_SITE];
};

enum cn_adapter_word {
    CN_KEY_READ,    /* *ret says what it is */
    CN_KEY_NOTHING, /* of a trainer's own, without effect on pictures */
    CN_KEY_STRANGE
};

/* What a tensor's name says. */
enum cn_adapter_word cn_adapter_read_key(const char *name, struct cn_adapter_key *ret);

/* '.' becomes '_'. False: it does not fit. */
bool cn_adapter_flatten(const char *name, char *ret, size_t size);

/* Ranks, scales and the other scalars of all parts. */
int cn_adapter_find_scales(struct cn_adapter *a, const char *config, struct cn_err *err);

#endif
