/* The log: JSON lines on stderr, one event each, at most 16 KiB long.
 *
 * Any thread (a line leaves in one write). Layers below job stay silent; see docs/STYLE.md.
 * Prompts, images and keys are never logged.
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

void cn_log_init(enum cn_log_level level, int fd);
int cn_log_level_find(const char *name); /* "error", "warning", "info", "debug"; else -1 */
bool cn_log_on(enum cn_log_level level);

void cn_log(enum cn_log_level level, const char *event, const char *msg, const char *fields, ...)
    CN_PRINTF(4, 5);

#endif
