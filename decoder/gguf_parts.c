/* Models in several files: NAME-00001-of-00003.gguf and the others beside it, each with a part of the tensors. The first has the
 * metadata; the others say only which part they are. */
#include "decoder/gguf_reader.h"

#include <stdio.h>
#include <string.h>

#define MAX_PARTS 99999 /* five digits */
#define ENDING_SIZE 64

/* A key that says which part a file is. `value` keeps what it holds where the key is missing. */
static weft_status read_count(const weft_gguf *gguf, const char *key, int64_t max, int64_t *value, weft_error *error) {
    weft_status status = weft_gguf_integer(gguf, key, 0, max, value, error);
    return status == WEFT_NOT_FOUND ? WEFT_OK : status;
}

static void write_ending(char ending[static ENDING_SIZE], int64_t part, int64_t n_parts) {
    snprintf(ending, ENDING_SIZE, "-%05lld-of-%05lld.gguf", (long long)part + 1, (long long)n_parts);
}

static weft_status check_first(const weft_gguf *gguf, int64_t n_parts, weft_error *error) {
    char ending[ENDING_SIZE];
    int64_t part = 0;
    weft_status status = read_count(gguf, "split.no", MAX_PARTS, &part, error);
    if (status != WEFT_OK) return status;
    if (part != 0)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s is part %lld of a model of %lld parts: open the first", gguf->path,
                         (long long)part + 1, (long long)n_parts);
    write_ending(ending, 0, n_parts);
    size_t size = strlen(gguf->path), n = strlen(ending);
    if (size >= n && strcmp(gguf->path + size - n, ending) == 0) return WEFT_OK;
    return weft_fail(error, WEFT_UNSUPPORTED,
                     "%s is one of %lld parts of a model, but its name does not end in %s, so the others cannot be found",
                     gguf->path, (long long)n_parts, ending);
}

static weft_status check_part(const weft_gguf *gguf, int64_t expected, int64_t n_expected, weft_error *error) {
    int64_t part = 0, n_parts = 0;
    weft_status status = read_count(gguf, "split.no", MAX_PARTS, &part, error);
    if (status == WEFT_OK) status = read_count(gguf, "split.count", MAX_PARTS, &n_parts, error);
    if (status != WEFT_OK || (part == expected && n_parts == n_expected)) return status;
    return weft_fail(error, WEFT_BAD_FILE, "%s says it is part %lld of %lld, where part %lld of %lld was expected", gguf->path,
                     (long long)part + 1, (long long)n_parts, (long long)expected + 1, (long long)n_expected);
}

static weft_status open_parts(weft_gguf *gguf, int64_t n_parts, weft_error *error) {
    size_t size = strlen(gguf->path) + 1;
    char ending[ENDING_SIZE], *path = weft_allocate(gguf->runtime, size);
    gguf->parts = weft_allocate(gguf->runtime, (size_t)n_parts * sizeof *gguf->parts);
    weft_status status = WEFT_OK;
    if (!path || !gguf->parts) status = weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory to open its parts", gguf->path);
    for (int64_t part = 1; part < n_parts && status == WEFT_OK; part++) {
        write_ending(ending, part, n_parts);
        memcpy(path, gguf->path, size);
        memcpy(path + size - 1 - strlen(ending), ending, strlen(ending));
        status = weft_gguf_open_file(gguf->runtime, path, &gguf->parts[gguf->n_parts], error);
        if (status == WEFT_OK) status = check_part(gguf->parts[gguf->n_parts++], part, n_parts, error);
    }
    weft_release(gguf->runtime, path);
    return status;
}

/* One directory of the tensors of all parts. */
static weft_status join_tensors(weft_gguf *gguf, weft_error *error) {
    size_t total = gguf->n_tensors, n = gguf->n_tensors;
    for (size_t i = 0; i < gguf->n_parts; i++) total += gguf->parts[i]->n_tensors;
    int64_t stated = (int64_t)total;
    weft_status status = read_count(gguf, "split.tensors.count", INT64_MAX, &stated, error);
    if (status != WEFT_OK) return status;
    if (stated != (int64_t)total)
        return weft_fail(error, WEFT_BAD_FILE, "%s: the parts have %zu tensors, but split.tensors.count is %lld", gguf->path, total,
                         (long long)stated);
    weft_gguf_tensor *all = weft_allocate(gguf->runtime, (total + 1) * sizeof *all);
    if (!all) return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory for a directory of %zu tensors", gguf->path, total);
    if (n > 0) memcpy(all, gguf->tensors, n * sizeof *all);
    for (size_t i = 0; i < gguf->n_parts; i++)
        for (size_t k = 0; k < gguf->parts[i]->n_tensors; k++) {
            all[n] = gguf->parts[i]->tensors[k];
            all[n++].part = gguf->parts[i];
        }
    weft_release(gguf->runtime, gguf->tensors);
    gguf->tensors = all;
    gguf->n_tensors = gguf->tensor_capacity = total;
    return weft_gguf_index_tensors(gguf, error);
}

weft_status weft_gguf_check_unchanged(const weft_gguf *gguf, weft_error *error) {
    weft_error reason = {.message = ""};
    weft_status status = weft_os_file_check_unchanged(&gguf->file, &reason);
    if (status != WEFT_OK) return weft_fail(error, status, "%s: %s: open the model again", gguf->path, reason.message);
    for (size_t i = 0; i < gguf->n_parts && status == WEFT_OK; i++) status = weft_gguf_check_unchanged(gguf->parts[i], error);
    return status;
}

weft_status weft_gguf_join(weft_gguf *gguf, weft_error *error) {
    int64_t n_parts = 1;
    weft_status status = read_count(gguf, "split.count", MAX_PARTS, &n_parts, error);
    if (status != WEFT_OK || n_parts < 2) return status;
    status = check_first(gguf, n_parts, error);
    if (status == WEFT_OK) status = open_parts(gguf, n_parts, error);
    return status == WEFT_OK ? join_tensors(gguf, error) : status;
}
