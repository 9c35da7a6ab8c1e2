/* The command line of controlnet-worker.
 *
 *     struct worker_options o;
 *     if (worker_options_parse(&o, argc, argv) < 0) return 2;      -- what is wrong has been said
 */
#ifndef CN_WORKER_OPTIONS_H
#define CN_WORKER_OPTIONS_H

#include "engine/engine.h"

enum { WORKER_MAX_DIRS = 64 };

/* All texts are argv's. */
struct worker_dirs {
    const char *dir[WORKER_MAX_DIRS];
    int n;
};

struct worker_options {
    struct cn_engine_opts engine; /* without hooks */
    struct worker_dirs models, embeddings, adapters;
    const char *default_model; /* NULL: the engine chooses */
    int fd;                    /* of the socket to the daemon; -1: none, which --probe needs not */
    int settle_s;              /* 0: directories are not watched */
    bool probe;
};

/* Fills *ret. CN_EINVAL: said on stderr. --help and --version print and end the program. */
int worker_options_parse(struct worker_options *ret, int argc, char **argv);

#endif
