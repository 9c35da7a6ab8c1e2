/* Golden files. */
#include "base/base.h"

#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void path_of(const char *name, const char *ending, char *text, size_t size)
{
    const char *srcdir = getenv("srcdir");

    snprintf(text, size, "%s/tests/data/golden/%s.%s", srcdir ? srcdir : ".", name, ending);
}

static unsigned char *read_all(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    unsigned char *data;
    long size;

    if (f == NULL)
        return NULL;
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    data = malloc((size_t)size + 1);
    *ret_size = fread(data, 1, (size_t)size, f);
    fclose(f);
    return data;
}

static void open_tensors(struct golden *g, const char *path)
{
    uint64_t length;
    unsigned char *file = read_all(path, &g->size);

    if (file == NULL)
        return;
    CN_ASSERT(g->size >= sizeof(length));
    memcpy(&length, file, sizeof(length));
    CN_ASSERT(length <= g->size - sizeof(length));
    g->header = json_loadb((char *)file + sizeof(length), length, 0, NULL);
    g->size -= sizeof(length) + length;
    memmove(file, file + sizeof(length) + length, g->size);
    g->data = file;
}

bool golden_open(struct golden *g, const char *name)
{
    char path[512];

    memset(g, 0, sizeof(*g));
    path_of(name, "json", path, sizeof(path));
    g->json = json_load_file(path, 0, NULL);
    path_of(name, "safetensors", path, sizeof(path));
    open_tensors(g, path);
    return g->json != NULL;
}

void golden_close(struct golden *g)
{
    json_decref(g->json);
    json_decref(g->header);
    free(g->data);
    free(g->copy);
}

const float *golden_floats(struct golden *g, const char *tensor, size_t *ret_n)
{
    json_t *entry = json_object_get(g->header, tensor);
    json_t *offsets = json_object_get(entry, "data_offsets");

    if (entry == NULL)
        return NULL;
    CN_ASSERT(strcmp(json_string_value(json_object_get(entry, "dtype")), "F32") == 0);
    size_t from = (size_t)json_integer_value(json_array_get(offsets, 0));
    size_t to = (size_t)json_integer_value(json_array_get(offsets, 1));
    CN_ASSERT(from <= to && to <= g->size);
    free(g->copy);
    g->copy = malloc(to - from + 1);
    memcpy(g->copy, g->data + from, to - from);
    *ret_n = (to - from) / sizeof(float);
    return g->copy;
}
