/* The log: JSON lines on stderr, one event each, at most 16 KiB long.
 *
 * Any thread, cn_log_init before the others start or from the loop. Nobody ever waits for who reads
 * the log (log_out.h): what cannot be written is dropped and counted.
 * Layers below job stay silent; see docs/STYLE.md. Images and keys are never logged, prompts only
 * when cn_log_prompts() says so.
 *
 * When the descriptor is systemd's journal (JOURNAL_STREAM), each line begins with its priority, as
 * "<4>", which the journal takes off.
 *
 * An event that floods writes so many lines a second; what is above is counted, and the count comes
 * as a line "log.dropped" when the second is over. Every line is whole JSON: long
 * values are cut.
 *
 *     cn_log(CN_LOG_INFO, "worker.ready", "worker is ready", "worker=%d", 0);
 *
 * The last format is a list of fields "key=value" separated by single spaces; values are given by
 * printf directives and become JSON numbers for %d %u %ld %lu %zu %g %.3f (and the like), strings
 * for %s. No other text is allowed in a value.
 */
#ifndef CN_BASE_LOG_H
#define CN_BASE_LOG_H

#include "base/base.h"

enum cn_log_level { CN_LOG_ERROR, CN_LOG_WARNING, CN_LOG_INFO, CN_LOG_DEBUG, CN_LOG_COUNT };

struct cn_log_options {
    enum cn_log_level level;
    int fd;
    int max_per_s;      /* lines of one event in a second; 0: no limit */
    int requests_per_s; /* of those that come with each request or job ("http.request", "job.end"),
                           30 s of them at once */
    bool prompts;
};

#define CN_LOG_DEFAULTS                                                                            \
    {                                                                                              \
        .level = CN_LOG_INFO, .fd = 2                                                              \
    }

void cn_log_init(const struct cn_log_options *o);
int cn_log_level_find(const char *name); /* "error", "warning", "info", "debug"; else -1 */
bool cn_log_on(enum cn_log_level level);

bool cn_log_prompts(void); /* may a line have the words of a prompt? */
/* Now and then: writes what could not be written before, and tells what was dropped. */
void cn_log_tick(void);
/* Before the program ends: waits for the reader, at most a second. */
void cn_log_flush(void);
long cn_log_dropped(void); /* lines, since the start */

void cn_log(enum cn_log_level level, const char *event, const char *msg, const char *fields, ...)
    CN_PRINTF(4, 5);

#endif
