/* The account of bytes that are on their way out: memory that stays because an answer which is
 * being sent still needs it. Loop thread only.
 *
 * Bytes belong to an owner (a job that holds a picture, a text of its own): many answers may send
 * the same bytes, and they count once. Files are not counted: what is sent from a descriptor holds
 * no memory beyond its block.
 *
 *     cn_outflight_hold(&out, job, bytes); ... cn_outflight_drop(&out, job);
 *     if (cn_outflight_full(&out)) ...          -- refuse what would add to it
 */
#ifndef CN_HTTP_CORE_OUTFLIGHT_H
#define CN_HTTP_CORE_OUTFLIGHT_H

#include "base/base.h"
#include "base/table.h"

struct cn_outflight {
    size_t bytes, max;
    struct cn_table owners;
};

/* At the end: nobody holds anything any more. */
void cn_outflight_release(struct cn_outflight *out);

/* One more answer needs the owner's bytes. The most that any answer said counts. */
void cn_outflight_hold(struct cn_outflight *out, const void *owner, size_t bytes);
void cn_outflight_drop(struct cn_outflight *out, const void *owner);

/* The same for bytes that no other answer sends. */
void cn_outflight_add(struct cn_outflight *out, size_t bytes);
void cn_outflight_remove(struct cn_outflight *out, size_t bytes);

bool cn_outflight_full(const struct cn_outflight *out);

#endif
