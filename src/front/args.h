/* The daemon's command line, and the configuration that it and the file make together.
 *
 * Loop thread only.
 *
 *     cn_args_parse(&args, argc, argv);                -- may end the program
 *     rc = cn_args_configure(&args, &conf, &err);      -- at the start, and again for each reload
 */
#ifndef CN_ARGS_H
#define CN_ARGS_H

#include "base/base.h"
#include "conf/conf.h"

struct cn_args {
    int argc;
    char **argv;
    const char *conf;      /* NULL: the default file, if there is one */
    const char *port_file; /* NULL: none */
    bool check, check_store, print;
};

/* Ends the program for --help, --version and mistakes. argv must outlive *ret. */
void cn_args_parse(struct cn_args *ret, int argc, char **argv);

/* The files alone: file (NULL: the default one, if it is there), and conf.d beside it. */
int cn_args_read_files(const char *file, struct cn_conf *c, struct cn_err *err);

/* Defaults, the files over them, the command line over it; checked. On failure *ret is released,
 * and the message names file and line, or the key. */
int cn_args_configure(const struct cn_args *a, struct cn_conf *ret, struct cn_err *err);

#endif
