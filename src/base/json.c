/* Counts what jansson's allocator could not give while a text is read. */
#include "base/base.h"
#include "base/json.h"
#include "base/mem.h"

#include <stdlib.h>

/* Before main(): jansson's allocator is one for the whole program. */
__attribute__((constructor)) static void note_what_fails(void)
{
    json_set_alloc_funcs(cn_noting_malloc, free);
}

json_t *cn_json_load(const char *text, size_t len, size_t flags, json_error_t *why)
{
    unsigned long no_memory = cn_times_no_memory();
    json_error_t own, *e = why != NULL ? why : &own;
    json_t *root = json_loadb(text, len, flags, e);

    if (cn_times_no_memory() == no_memory)
        return root;
    json_decref(root);
    e->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory; /* where jansson has the code */
    return NULL;
}

int cn_json_fail(const json_error_t *why, const char *path, struct cn_err *err)
{
    if (json_error_code(why) == json_error_out_of_memory)
        return cn_fail(err, CN_ENOMEM, "\"%s\": no memory for the JSON text", path);
    return cn_fail(err, CN_EFORMAT, "\"%s\": line %d: %s", path, why->line, why->text);
}
