/* Opening a GGUF file: header, metadata entries, tensor directory, and the checks that need the whole of it. */
#include "decoder/gguf_reader.h"

#include <stdio.h>
#include <string.h>

#define MAGIC 0x46554747u /* "GGUF" */
#define DEFAULT_ALIGNMENT 32

static weft_status make_room(weft_gguf *gguf, void **items, size_t *capacity, size_t count, size_t size, weft_error *error) {
    if (count < *capacity) return WEFT_OK;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    void *larger = weft_reallocate(gguf->runtime, *items, *capacity * size, wanted * size);
    if (!larger) return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory for %zu directory entries", gguf->path, wanted);
    *items = larger;
    *capacity = wanted;
    return WEFT_OK;
}

/* Arrays grow while entries are read, so a false count in the file allocates nothing. */
static weft_status read_entries(weft_gguf_reader *reader, uint64_t count) {
    weft_gguf *gguf = reader->gguf;
    for (uint64_t i = 0; i < count; i++) {
        void *items = gguf->entries;
        weft_status status = make_room(gguf, &items, &gguf->entry_capacity, gguf->n_entries, sizeof *gguf->entries, reader->error);
        gguf->entries = items;
        if (status != WEFT_OK) return status;
        gguf->n_entries++; /* counted first, so that closing also frees a failed entry */
        status = weft_gguf_read_entry(reader, &gguf->entries[gguf->n_entries - 1]);
        if (status != WEFT_OK) return status;
    }
    return WEFT_OK;
}

static weft_status read_shape(weft_gguf_reader *reader, const char *name, weft_tensor *tensor) {
    const char *path = reader->gguf->path;
    uint32_t n_dimensions;
    weft_status status = weft_gguf_read_u32(reader, &n_dimensions);
    if (status != WEFT_OK) return status;
    if (n_dimensions < 1 || n_dimensions > WEFT_MAX_DIMENSIONS) {
        return weft_fail(reader->error, WEFT_BAD_FILE, "%s: tensor %s has %u dimensions, not 1 to 4", path, name, n_dimensions);
    }
    for (uint32_t i = 0; i < WEFT_MAX_DIMENSIONS; i++) {
        uint64_t size = 1;
        if (i < n_dimensions) status = weft_gguf_read_u64(reader, &size);
        if (status != WEFT_OK) return status;
        if (size < 1 || size > INT64_MAX) {
            return weft_fail(reader->error, WEFT_BAD_FILE, "%s: dimension %u of tensor %s is %llu; it must be from 1 to 2^63 - 1",
                             path, i, name, (unsigned long long)size);
        }
        tensor->shape[i] = (int64_t)size;
    }
    return WEFT_OK;
}

static weft_status read_type(weft_gguf_reader *reader, const char *name, weft_gguf_tensor *entry) {
    weft_tensor *tensor = &entry->tensor.tensor;
    uint32_t number;
    weft_status status = weft_gguf_read_u32(reader, &number);
    if (status != WEFT_OK) return status;
    tensor->type = (weft_type)number;
    snprintf(entry->type_number, sizeof entry->type_number, "type %u", number);
    const weft_type_info *info = weft_type_get(tensor->type);
    if (!info || tensor->shape[0] % info->block_elements == 0) return WEFT_OK;
    return weft_fail(reader->error, WEFT_BAD_FILE, "%s: tensor %s has rows of %lld, which %s cannot hold in blocks of %u",
                     reader->gguf->path, name, (long long)tensor->shape[0], info->name, info->block_elements);
}

/* No format has more than 8 elements a byte. */
static bool may_fit(const weft_tensor *tensor, uint64_t bytes) {
    uint64_t left = bytes * 8;
    for (int i = 0; i < WEFT_MAX_DIMENSIONS; i++) left /= (uint64_t)tensor->shape[i];
    return left > 0;
}

static weft_status read_tensor(weft_gguf_reader *reader, weft_gguf_tensor *entry) {
    weft_gguf *gguf = reader->gguf;
    weft_model_tensor *tensor = &entry->tensor;
    char name[WEFT_GGUF_NAME_LIMIT + 1]; /* of its own, since the header moves while it grows */
    weft_status status = weft_gguf_read_name(reader, "tensor name", WEFT_GGUF_NAME_LIMIT, &entry->name_at);
    if (status != WEFT_OK) return status;
    snprintf(name, sizeof name, "%s", (const char *)gguf->header + entry->name_at);
    status = read_shape(reader, name, &tensor->tensor);
    if (status == WEFT_OK) status = read_type(reader, name, entry);
    if (status == WEFT_OK) status = weft_gguf_read_u64(reader, &tensor->offset);
    if (status != WEFT_OK) return status;
    bool readable = weft_gguf_tensor_readable(tensor);
    tensor->bytes = readable ? weft_tensor_bytes(&tensor->tensor) : 1;
    if (tensor->bytes == 0 || tensor->bytes > gguf->file.size || tensor->offset > gguf->file.size - tensor->bytes ||
        !may_fit(&tensor->tensor, gguf->file.size)) {
        return weft_fail(reader->error, WEFT_BAD_FILE, "%s: tensor %s reaches past the end of the file", gguf->path, name);
    }
    return WEFT_OK;
}

static weft_status read_tensors(weft_gguf_reader *reader, uint64_t count) {
    weft_gguf *gguf = reader->gguf;
    for (uint64_t i = 0; i < count; i++) {
        void *items = gguf->tensors;
        weft_status status = make_room(gguf, &items, &gguf->tensor_capacity, gguf->n_tensors, sizeof *gguf->tensors, reader->error);
        gguf->tensors = items;
        if (status == WEFT_OK) status = read_tensor(reader, &gguf->tensors[gguf->n_tensors]);
        if (status != WEFT_OK) return status;
        gguf->n_tensors++;
    }
    return WEFT_OK;
}

static int compare_keys(const void *items, uint32_t a, uint32_t b) {
    const weft_gguf_entry *entries = items;
    return strcmp(entries[a].value.key, entries[b].value.key);
}

static int compare_names(const void *items, uint32_t a, uint32_t b) {
    const weft_gguf_tensor *tensors = items;
    return strcmp(tensors[a].tensor.name, tensors[b].tensor.name);
}

static int compare_offsets(const void *items, uint32_t a, uint32_t b) {
    const weft_gguf_tensor *tensors = items;
    uint64_t first = tensors[a].tensor.offset, second = tensors[b].tensor.offset;
    if (first == second) return (a > b) - (a < b);
    return (first > second) - (first < second);
}

/* Called when the header no longer moves: sets the pointers into it, sorts both directories, and finds duplicates. */
static weft_status index_names(weft_gguf *gguf, weft_error *error) {
    gguf->entry_order = weft_allocate(gguf->runtime, (gguf->n_entries + 1) * sizeof *gguf->entry_order);
    if (!gguf->entry_order) return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory for its directory", gguf->path);
    for (size_t i = 0; i < gguf->n_entries; i++) {
        gguf->entries[i].value.key = (char *)gguf->header + gguf->entries[i].key_at;
        gguf->entries[i].value.data = gguf->header + gguf->entries[i].data_at;
    }
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        gguf->tensors[i].tensor.name = (const char *)gguf->header + gguf->tensors[i].name_at;
    }
    weft_gguf_sort(gguf->entry_order, gguf->n_entries, compare_keys, gguf->entries);
    for (size_t i = 1; i < gguf->n_entries; i++) {
        if (compare_keys(gguf->entries, gguf->entry_order[i - 1], gguf->entry_order[i]) == 0) {
            return weft_fail(error, WEFT_BAD_FILE, "%s: the key %.80s is there twice", gguf->path,
                             gguf->entries[gguf->entry_order[i]].value.key);
        }
    }
    return weft_gguf_index_tensors(gguf, error);
}

weft_status weft_gguf_index_tensors(weft_gguf *gguf, weft_error *error) {
    weft_release(gguf->runtime, gguf->tensor_order);
    gguf->tensor_order = weft_allocate(gguf->runtime, (gguf->n_tensors + 1) * sizeof *gguf->tensor_order);
    if (!gguf->tensor_order) return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory for its directory", gguf->path);
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const char *name = weft_gguf_tensor_type_name((uint32_t)gguf->tensors[i].tensor.tensor.type);
        gguf->tensors[i].tensor.type_name = name ? name : gguf->tensors[i].type_number;
    }
    weft_gguf_sort(gguf->tensor_order, gguf->n_tensors, compare_names, gguf->tensors);
    for (size_t i = 1; i < gguf->n_tensors; i++) {
        if (compare_names(gguf->tensors, gguf->tensor_order[i - 1], gguf->tensor_order[i]) == 0) {
            return weft_fail(error, WEFT_BAD_FILE, "%s: the tensor %s is there twice", gguf->path,
                             gguf->tensors[gguf->tensor_order[i]].tensor.name);
        }
    }
    return WEFT_OK;
}

static weft_status read_alignment(const weft_gguf *gguf, uint64_t *alignment, weft_error *error) {
    int64_t value = (int64_t)*alignment;
    weft_status status = weft_gguf_integer(gguf, "general.alignment", 8, (int64_t)1 << 30, &value, error);
    if (status != WEFT_OK && status != WEFT_NOT_FOUND) return status;
    if (value & (value - 1)) {
        return weft_fail(error, WEFT_BAD_FILE, "%s: general.alignment is %lld, not a power of two", gguf->path, (long long)value);
    }
    *alignment = (uint64_t)value;
    return WEFT_OK;
}

static uint64_t align_up(uint64_t offset, uint64_t alignment) {
    return (offset + alignment - 1) & ~(alignment - 1);
}

/* Tensors follow each other with no more than padding between them, from the aligned end of the header on: damage to a type, a size
 * or a count leaves a gap or an overlap. Whatever comes after the last is not the model's. Offsets become those in the file. */
static weft_status place_tensors(weft_gguf *gguf, uint64_t header_size, weft_error *error) {
    uint64_t alignment = DEFAULT_ALIGNMENT, end = header_size;
    weft_status status = read_alignment(gguf, &alignment, error);
    if (status != WEFT_OK) return status;
    uint32_t *order = weft_allocate(gguf->runtime, (gguf->n_tensors + 1) * sizeof *order);
    if (!order) return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory for its directory", gguf->path);
    weft_gguf_sort(order, gguf->n_tensors, compare_offsets, gguf->tensors);
    uint64_t data = align_up(header_size, alignment);
    for (size_t i = 0; i < gguf->n_tensors && status == WEFT_OK; i++) {
        weft_model_tensor *tensor = &gguf->tensors[order[i]].tensor;
        uint64_t expected = align_up(end, alignment), start = data + tensor->offset; /* both below 2^63: see read_tensor */
        if (start < expected) {
            status = weft_fail(error, WEFT_BAD_FILE, "%s: tensor %s overlaps the tensor before it", gguf->path, tensor->name);
        } else if (start > expected) {
            status = weft_fail(error, WEFT_BAD_FILE, "%s: %llu bytes before tensor %s belong to no tensor, or are not aligned",
                               gguf->path, (unsigned long long)(start - expected), tensor->name);
        }
        if (!weft_gguf_tensor_readable(tensor) && start < gguf->file.size) {
            bool last = i + 1 == gguf->n_tensors;
            tensor->bytes = (last ? gguf->file.size : data + gguf->tensors[order[i + 1]].tensor.offset) - start;
            if (status == WEFT_OK && !may_fit(&tensor->tensor, tensor->bytes))
                status = weft_fail(error, WEFT_BAD_FILE, "%s: tensor %s overlaps what is after it", gguf->path, tensor->name);
        }
        tensor->offset = start;
        end = start + tensor->bytes;
        if (status == WEFT_OK && end > gguf->file.size) {
            status = weft_fail(error, WEFT_BAD_FILE, "%s: the file ends inside tensor %s", gguf->path, tensor->name);
        }
    }
    weft_release(gguf->runtime, order);
    return status;
}

static weft_status read_version(weft_gguf_reader *reader) {
    const char *path = reader->gguf->path;
    uint32_t magic, version;
    weft_status status = weft_gguf_read_u32(reader, &magic);
    if (status != WEFT_OK) return status;
    if (magic != MAGIC) return weft_fail(reader->error, WEFT_BAD_FILE, "%s is not a GGUF file", path);
    status = weft_gguf_read_u32(reader, &version);
    if (status != WEFT_OK) return status;
    if (version == 2 || version == 3) return WEFT_OK;
    if (version == 0x02000000u || version == 0x03000000u) {
        return weft_fail(reader->error, WEFT_UNSUPPORTED, "%s is a big-endian GGUF file, which weft cannot read", path);
    }
    return weft_fail(reader->error, version == 1 ? WEFT_UNSUPPORTED : WEFT_BAD_FILE,
                     "%s has GGUF version %u; weft reads versions 2 and 3", path, version);
}

static weft_status read_all(weft_gguf *gguf, weft_error *error) {
    weft_gguf_reader reader = {.gguf = gguf, .error = error};
    uint64_t n_tensors, n_entries;
    weft_status status = read_version(&reader);
    if (status == WEFT_OK) status = weft_gguf_read_u64(&reader, &n_tensors);
    if (status == WEFT_OK) status = weft_gguf_read_u64(&reader, &n_entries);
    if (status == WEFT_OK) status = read_entries(&reader, n_entries);
    if (status == WEFT_OK) status = read_tensors(&reader, n_tensors);
    if (status == WEFT_OK) status = index_names(gguf, error);
    if (status == WEFT_OK) status = place_tensors(gguf, reader.position, error);
    return status;
}

weft_status weft_gguf_open(weft_runtime *runtime, const char *path, weft_gguf **gguf, weft_error *error) {
    weft_gguf *opened = NULL;
    weft_status status = weft_gguf_open_file(runtime, path, &opened, error);
    if (status == WEFT_OK) status = weft_gguf_join(opened, error);
    if (status == WEFT_OK)
        *gguf = opened;
    else
        weft_gguf_close(opened);
    return status;
}

weft_status weft_gguf_open_file(weft_runtime *runtime, const char *path, weft_gguf **gguf, weft_error *error) {
    weft_gguf *opened = weft_allocate(runtime, sizeof *opened);
    size_t path_size = strlen(path) + 1;
    char *path_copy = weft_allocate(runtime, path_size);
    if (!opened || !path_copy) {
        weft_release(runtime, opened);
        weft_release(runtime, path_copy);
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory to open it", path);
    }
    memcpy(path_copy, path, path_size);
    opened->runtime = runtime;
    opened->path = path_copy;
    weft_status status = weft_os_file_open(&opened->file, path, error);
    if (status != WEFT_OK) {
        weft_release(runtime, path_copy);
        weft_release(runtime, opened);
        return status;
    }
    status = read_all(opened, error);
    if (status != WEFT_OK) {
        weft_gguf_close(opened);
        return status;
    }
    *gguf = opened;
    return WEFT_OK;
}

void weft_gguf_close(weft_gguf *gguf) {
    if (!gguf) return;
    weft_runtime *runtime = gguf->runtime;
    for (size_t i = 0; i < gguf->n_parts; i++) weft_gguf_close(gguf->parts[i]);
    weft_release(runtime, gguf->parts);
    for (size_t i = 0; i < gguf->n_entries; i++) weft_release(runtime, gguf->entries[i].value.offsets);
    weft_release(runtime, gguf->entries);
    weft_release(runtime, gguf->tensors);
    weft_release(runtime, gguf->entry_order);
    weft_release(runtime, gguf->tensor_order);
    weft_release(runtime, gguf->header);
    weft_release(runtime, gguf->path);
    weft_os_file_close(&gguf->file);
    weft_release(runtime, gguf);
}

size_t weft_gguf_tensor_count(const weft_gguf *gguf) {
    return gguf->n_tensors;
}

const weft_model_tensor *weft_gguf_tensor_at(const weft_gguf *gguf, size_t index) {
    return &gguf->tensors[index].tensor;
}

size_t weft_gguf_tensor_index(const weft_gguf *gguf, const weft_model_tensor *tensor) {
    return (size_t)((const weft_gguf_tensor *)tensor - gguf->tensors);
}

bool weft_gguf_tensor_readable(const weft_model_tensor *tensor) {
    return weft_type_get(tensor->tensor.type) != NULL;
}

const weft_model_tensor *weft_gguf_tensor_find(const weft_gguf *gguf, const char *name) {
    size_t low = 0, high = gguf->n_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const weft_model_tensor *tensor = &gguf->tensors[gguf->tensor_order[middle]].tensor;
        int order = strcmp(name, tensor->name);
        if (order == 0) return tensor;
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

weft_status weft_gguf_read(const weft_gguf *gguf, const weft_model_tensor *tensor, uint64_t offset, void *into, size_t size,
                           weft_error *error) {
    if (offset > tensor->bytes || size > tensor->bytes - offset) {
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: bytes %llu to %llu of tensor %s, which has %llu", gguf->path,
                         (unsigned long long)offset, (unsigned long long)offset + size, tensor->name,
                         (unsigned long long)tensor->bytes);
    }
    const weft_gguf *part = ((const weft_gguf_tensor *)tensor)->part;
    return weft_os_file_read(part ? &part->file : &gguf->file, tensor->offset + offset, into, size, error);
}

const char *weft_gguf_path(const weft_gguf *gguf) {
    return gguf->path;
}
