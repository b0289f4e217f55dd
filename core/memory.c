#include "core/runtime.h"

#include <stdalign.h>
#include <string.h>

/* Every block begins with the size that the allocator was asked for, because its release function needs this size. */
typedef union block_header {
    size_t size;
    max_align_t alignment;
} block_header;

void *weft_allocate(weft_runtime *runtime, size_t size) {
    if (!runtime || size > PTRDIFF_MAX - sizeof(block_header)) return NULL;
    size_t whole = size + sizeof(block_header);
    block_header *header = runtime->allocator.allocate(runtime->allocator.user, whole, alignof(max_align_t));
    if (!header) return NULL;
    memset(header, 0, whole);
    header->size = whole;
    return header + 1;
}

void *weft_reallocate(weft_runtime *runtime, void *memory, size_t old_size, size_t size) {
    void *moved = weft_allocate(runtime, size);
    if (!moved) return NULL;
    if (memory) memcpy(moved, memory, old_size < size ? old_size : size);
    weft_release(runtime, memory);
    return moved;
}

void weft_release(weft_runtime *runtime, void *memory) {
    if (!memory) return;
    block_header *header = (block_header *)memory - 1;
    runtime->allocator.release(runtime->allocator.user, header, header->size);
}
