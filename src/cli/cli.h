/* What the parts of the command line program share.
 *
 * One thread. A command gets the words after "controlnet", itself included, and returns the exit
 * status of the process.
 *
 *     int cn_cli_models(int argc, char **argv)
 *     {
 *         struct cn_cli_engine_opts o = CN_CLI_ENGINE_DEFAULTS;
 *         ...
 *         if (cn_cli_parse(&help, argc, argv, &o, &rest, &status))
 *             return status;
 */
#ifndef CN_CLI_CLI_H
#define CN_CLI_CLI_H

#include "base/buf.h"
#include "base/spec.h"
#include "cli/options.h"
#include "engine/engine.h"

enum cn_exit {
    CN_EXIT_OK = 0,
    CN_EXIT_FAILED = 1, /* the work could not be done, or a model is not in order */
    CN_EXIT_USAGE = 2   /* the command line is at fault */
};

/* Everything that --help of a command prints. */
struct cn_cli_help {
    const char *name, *usage; /* "generate", "[options] -p PROMPT -o FILE" */
    const char *about;        /* paragraphs, ready for 79 columns */
    const struct cn_option *options;
    const char *examples;    /* may be NULL */
    void (*more)(FILE *out); /* printed after the options; may be NULL */
};

int cn_cli_generate(int argc, char **argv);
int cn_cli_inspect(int argc, char **argv);
int cn_cli_bench(int argc, char **argv);
int cn_cli_models(int argc, char **argv);
int cn_cli_annotate(int argc, char **argv);

/* ---- command.c ---- */

/* Every table of options begins with it. */
#define CN_CLI_HELP(type)                                                                          \
    {                                                                                              \
        .kind = CN_OPT_FLAG, .name = "help", .letter = 'h', .help = "print this text",             \
        .offset = offsetof(type, help)                                                             \
    }

/* Parses argv; *help is the member that CN_CLI_HELP() sets. True: the command ends here with
 * *ret_status, because help was printed or the command line is wrong. *ret_rest: index of the first
 * word that is no option. */
bool cn_cli_parse(const struct cn_cli_help *h, int argc, char **argv, void *target,
                  const bool *help, int *ret_rest, int *ret_status);

/* Prints "controlnet NAME: MESSAGE" and returns status; a usage error points to --help. */
int cn_cli_complain(const char *name, int status, const struct cn_err *err);

/* The exit status that fits an error of the engine: 128 + signal, 2 for a request that cannot be
 * drawn, else 1. The field at fault is put before the message as the option that sets it. */
int cn_cli_blame(struct cn_err *err);

/* Prints a warning on standard error, with the option that sets the field. */
void cn_cli_warn(const char *field, const char *text);

/* ---- engine.c ---- */

/* Members of the options of every command that needs an engine. */
struct cn_cli_engine_opts {
    struct cn_option_list models;     /* --models */
    struct cn_option_list embeddings; /* --embeddings */
    struct cn_option_list adapters;   /* --adapters */
    const char *backend;
    const char *taesd; /* --taesd, of generate */
    enum cn_ema_choice ema;
    int threads;
};

#define CN_CLI_ENGINE_OPTIONS(type, member)                                                        \
    {.kind = CN_OPT_LIST,                                                                          \
     .name = "models",                                                                             \
     .arg = "DIR",                                                                                 \
     .offset = offsetof(type, member.models),                                                      \
     .help = "directory of models, repeatable (default: $CONTROLNETD_MODELS, else the installed "  \
             "ones)"},                                                                             \
        {.kind = CN_OPT_LIST,                                                                      \
         .name = "embeddings",                                                                     \
         .arg = "DIR",                                                                             \
         .offset = offsetof(type, member.embeddings),                                              \
         .help = "directory of embeddings that prompts may name, repeatable"},                     \
        {.kind = CN_OPT_LIST,                                                                      \
         .name = "adapters",                                                                       \
         .arg = "DIR",                                                                             \
         .offset = offsetof(type, member.adapters),                                                \
         .help = "directory of adapters (LoRA and its kin), repeatable"},                          \
        {.kind = CN_OPT_WORD,                                                                      \
         .name = "ema",                                                                            \
         .arg = "NAME",                                                                            \
         .offset = offsetof(type, member.ema),                                                     \
         .words = &cn_enum_ema,                                                                    \
         .help = "whether averages of a base model's weights (EMA) count; model is what the "      \
                 "files beside it say"},                                                           \
        {.kind = CN_OPT_TEXT,                                                                      \
         .name = "backend",                                                                        \
         .arg = "NAME",                                                                            \
         .offset = offsetof(type, member.backend),                                                 \
         .help = "what computes: auto, onednn or reference (slow, exact)"},                        \
    {                                                                                              \
        .kind = CN_OPT_INT, .name = "threads", .arg = "N",                                         \
        .offset = offsetof(type, member.threads), .min = 0, .max = 1024,                           \
        .help = "processors to use (default: all)"                                                 \
    }

/* Model names are looked up in the directories; a word with a slash, or one that only exists as a
 * file or directory, is a path. */
struct cn_cli_models {
    struct cn_engine *e;
    const struct cn_option_list *dirs;
    char *path[CN_OPTION_LIST_MAX]; /* added already, copies; path[i] is number[i] of the engine */
    int number[CN_OPTION_LIST_MAX];
    int n_paths;
    bool scanned;
};

int cn_cli_engine_open(const struct cn_cli_engine_opts *o, bool profile, struct cn_cli_models *ret,
                       struct cn_err *err);
void cn_cli_engine_close(struct cn_cli_models *m);

/* Opens all directories of models, once. */
int cn_cli_scan(struct cn_cli_models *m, struct cn_err *err);

/* *ret is the engine's name for a word of the command line. Paths must be resolved before the
 * directories are scanned: they win over models of the same name. */
int cn_cli_resolve(struct cn_cli_models *m, const char *word, char **ret, struct cn_err *err);

/* Resolves the model and the ControlNets of a job in place. */
int cn_cli_resolve_spec(struct cn_cli_models *m, struct cn_spec *s, struct cn_err *err);

/* The guidance that the model itself asks for, when no option says another. */
void cn_cli_fill_guidance(const struct cn_cli_models *m, struct cn_spec *s);

/* Fills *ret with the named model; false when there is none. */
bool cn_cli_find(const struct cn_cli_models *m, const char *name, struct cn_model_facts *ret);

/* ---- control.c ---- */

/* NAME[:STRENGTH[:TEXT]] of --adapter; and later, paths to the names of adapters of the engine. */
int cn_cli_add_adapter(const char *text, struct cn_spec *s, struct cn_err *err);
int cn_cli_resolve_adapters(struct cn_engine *e, struct cn_spec *s, struct cn_err *err);

/* MODEL=FILE[,key=value...] of --control; a comma in FILE is written "\,". needs_file: bench draws
 * a control image of its own when there is none. */
int cn_cli_add_control(const char *text, bool needs_file, struct cn_spec *s, struct cn_err *err);

/* CN_EINVAL with a message that begins with `what` and names what was meant. */
struct cn_annotator;
int cn_cli_find_annotator(const char *what, const char *name, const struct cn_annotator **ret,
                          struct cn_err *err);

/* The whole file, at most 32 MiB; "-" is standard input. */
int cn_cli_read_image(const char *path, struct cn_blob *ret, struct cn_err *err);

/* ---- sizes.c ---- */

/* As they were given; NULL: they were not. */
struct cn_cli_sizes {
    const char *original, *crop, *target;
};
int cn_cli_read_sizes(const struct cn_cli_sizes *o, struct cn_spec_sizes *ret, struct cn_err *err);

/* ---- throughput.c ---- */

/* Draws so many jobs like s, one after another and at once with each size of batch, in turns, as
 * often as asked for, and prints a table. */
int cn_cli_throughput(struct cn_engine *e, const struct cn_spec *s, int jobs, int repeat,
                      struct cn_err *err);

/* ---- interrupt.c ---- */

/* From now on the first SIGINT or SIGTERM is remembered and the second one ends the process. To be
 * called before the engine starts its threads. */
void cn_cli_catch_signals(void);
int cn_cli_signal(void); /* 0: none */

/* ---- text.c ---- */

/* "4.3 GB", "512 bytes" */
const char *cn_cli_bytes(uint64_t bytes, char *text, size_t size);
/* "859,520,964" */
const char *cn_cli_count(uint64_t n, char *text, size_t size);
/* The largest resident size that the process has had, in bytes; 0 when it cannot be told. */
uint64_t cn_cli_peak_rss(void);

struct json_t;
/* A JSON string; bytes that are not UTF-8 become U+FFFD. */
struct json_t *cn_cli_json_text(const char *text) CN_MUST_USE;
/* Prints and releases it; CN_EXIT_OK, or CN_EXIT_FAILED when standard output cannot be written. */
int cn_cli_print_json_take(struct json_t *o);
/* Flushes standard output; CN_EXIT_FAILED, with a message, when it is broken. */
int cn_cli_flush(void);

#endif
