/* Parses the command line, and makes one configuration of defaults, files and options. */
#include "base/base.h"
#include "front/args.h"
#include "base/mem.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_CONF CN_SYSCONFDIR "/controlnetd/controlnetd.conf"

static const char usage[] =
    "Usage: controlnetd [OPTION]...\n"
    "       controlnetd keys add|list|revoke [OPTION]...\n"
    "Serve text-to-image diffusion with ControlNet over HTTP.\n"
    "\n"
    "  -c, --config FILE        read FILE (and conf.d/*.conf beside it) instead of\n"
    "                           " DEFAULT_CONF "\n"
    "      --check-config       say whether the configuration is good, and leave\n"
    "      --check-store        say whether the job store is whole, and leave\n"
    "      --print-config       write the configuration in force, and leave\n"
    "      --listen ADDRESS     host:port or unix:/path (http.listen)\n"
    "      --admin-listen ADDRESS\n"
    "                           a second listener for /metrics and health checks\n"
    "      --models DIR         where models are (models.dirs); may be given again\n"
    "      --set SECTION.KEY=VALUE\n"
    "                           any key of the configuration; may be given again\n"
    "      --port-file FILE     write the ports to FILE, one a line\n"
    "  -h, --help               this text\n"
    "  -V, --version            the version\n"
    "\n"
    "SIGTERM and SIGINT finish the accepted work and end the daemon; again: at once.\n"
    "SIGHUP reads the configuration again.\n";

enum {
    OPT_CHECK = 256,
    OPT_CHECK_STORE,
    OPT_PRINT,
    OPT_LISTEN,
    OPT_ADMIN,
    OPT_MODELS,
    OPT_SET,
    OPT_PORT_FILE
};

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", no_argument, NULL, OPT_CHECK},
    {"check-store", no_argument, NULL, OPT_CHECK_STORE},
    {"print-config", no_argument, NULL, OPT_PRINT},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"admin-listen", required_argument, NULL, OPT_ADMIN},
    {"models", required_argument, NULL, OPT_MODELS},
    {"set", required_argument, NULL, OPT_SET},
    {"port-file", required_argument, NULL, OPT_PORT_FILE},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

void cn_args_parse(struct cn_args *ret, int argc, char **argv)
{
    int opt;

    *ret = (struct cn_args){.argc = argc, .argv = argv};
    optind = 1;
    while ((opt = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
        switch (opt) {
        case 'c':
            ret->conf = optarg;
            break;
        case OPT_CHECK:
            ret->check = true;
            break;
        case OPT_CHECK_STORE:
            ret->check_store = true;
            break;
        case OPT_PRINT:
            ret->print = true;
            break;
        case OPT_PORT_FILE:
            ret->port_file = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        case 'V':
            puts(CN_REVISION[0] != '\0' ? "controlnetd " PACKAGE_VERSION " (" CN_REVISION ")"
                                        : "controlnetd " PACKAGE_VERSION);
            exit(0);
        case '?':
            fputs("Try \"controlnetd --help\".\n", stderr);
            exit(2);
        default:
            break;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "controlnetd: unexpected argument \"%s\"\n", argv[optind]);
        exit(2);
    }
}

/* What the command line says about keys: after the file, because it wins. */
static int override(const struct cn_args *a, struct cn_conf *c, struct cn_err *err)
{
    bool models = false;
    char *dirs;
    int opt, rc = CN_OK;

    optind = 1;
    while (rc == CN_OK && (opt = getopt_long(a->argc, a->argv, "c:hV", options, NULL)) != -1) {
        switch (opt) {
        case OPT_LISTEN:
            rc = cn_conf_put(c, "http", "listen", optarg, "--listen", err);
            break;
        case OPT_ADMIN:
            rc = cn_conf_put(c, "http", "admin_listen", optarg, "--admin-listen", err);
            break;
        case OPT_MODELS:
            dirs = models ? cn_xprintf("%s:%s", c->dirs, optarg) : cn_xstrdup(optarg);
            rc = cn_conf_put(c, "models", "dirs", dirs, "--models", err);
            free(dirs);
            models = true;
            break;
        case OPT_SET:
            rc = cn_conf_set(c, optarg, err);
            break;
        default:
            break;
        }
    }
    return rc;
}

/* Only a default file that is not there means none: one that cannot be read, or is something else,
 * is an error. Otherwise a file that lost its permissions would count as an empty one. */
int cn_args_read_files(const char *file, struct cn_conf *c, struct cn_err *err)
{
    const char *path = file != NULL ? file : DEFAULT_CONF;
    struct stat st;
    int rc = CN_OK;

    if (file != NULL || lstat(path, &st) == 0 || errno != ENOENT)
        rc = cn_conf_read(c, path, err);
    return rc == CN_OK ? cn_conf_read_parts(c, path, err) : rc;
}

int cn_args_configure(const struct cn_args *a, struct cn_conf *ret, struct cn_err *err)
{
    int rc;

    cn_conf_init(ret);
    rc = cn_args_read_files(a->conf, ret, err);
    if (rc == CN_OK)
        rc = override(a, ret, err);
    if (rc == CN_OK)
        rc = cn_conf_check(ret, err);
    if (rc < 0)
        cn_conf_release(ret);
    return rc;
}
