/* The memory, the limits and the end of a run; text that grows. */
#include "decoder/jinja/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CHUNK 16384 /* bytes */
#define ALIGNMENT 16
#define BYTES_A_STEP 32

typedef struct jinja_chunk {
    struct jinja_chunk *next;
    size_t used, size; /* of what follows */
    _Alignas(ALIGNMENT) char bytes[];
} jinja_chunk;

void weft_jinja_fail(jinja_run *run, weft_status status, const char *format, ...) {
    char message[192];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (run->line)
        run->status = weft_fail(run->error, status, "the chat template, line %zu, column %zu: %s", run->line, run->column, message);
    else
        run->status = weft_fail(run->error, status, "%s", message);
    longjmp(run->end, 1);
}

void *weft_jinja_allocate(jinja_run *run, size_t size) {
    if (size > run->limits.memory)
        weft_jinja_fail(run, WEFT_UNSUPPORTED, "it needs more than %zu bytes of memory", run->limits.memory);
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    jinja_chunk *chunk = run->chunks;
    if (!chunk || chunk->size - chunk->used < size) {
        size_t room = size > CHUNK / 4 ? size : CHUNK;
        if (room > run->limits.memory - run->memory)
            weft_jinja_fail(run, WEFT_UNSUPPORTED, "it needs more than %zu bytes of memory", run->limits.memory);
        jinja_chunk *made = weft_allocate(run->runtime, sizeof *made + room);
        if (!made) weft_jinja_fail(run, WEFT_OUT_OF_MEMORY, "no memory to run it");
        run->memory += room;
        made->size = room;
        /* One that is full at once goes behind the one that still has room. */
        if (chunk && room == size) {
            made->next = chunk->next;
            chunk->next = made;
        } else {
            made->next = chunk;
            run->chunks = made;
        }
        chunk = made;
    }
    void *memory = chunk->bytes + chunk->used;
    chunk->used += size;
    return memory;
}

void weft_jinja_free_all(jinja_run *run) {
    while (run->chunks) {
        jinja_chunk *next = run->chunks->next;
        weft_release(run->runtime, run->chunks);
        run->chunks = next;
    }
}

void weft_jinja_charge(jinja_run *run, size_t steps) {
    if (steps > run->limits.steps - run->steps)
        weft_jinja_fail(run, WEFT_UNSUPPORTED, "it takes more than %zu steps", run->limits.steps);
    run->steps += steps;
    if (run->input && run->input->cancelled && atomic_load_explicit(run->input->cancelled, memory_order_relaxed))
        weft_jinja_fail(run, WEFT_CANCELLED, "cancelled before the conversation was rendered");
}

void weft_jinja_enter(jinja_run *run) {
    if (run->depth >= run->limits.nesting)
        weft_jinja_fail(run, WEFT_UNSUPPORTED, "it is nested deeper than %zu levels", run->limits.nesting);
    run->depth++;
}

void weft_jinja_leave(jinja_run *run) {
    run->depth--;
}

/* ---- Text that grows ---- */

static void make_room(jinja_run *run, jinja_builder *builder, size_t size) {
    weft_jinja_charge(run, size / BYTES_A_STEP);
    if (size <= builder->capacity - builder->size) return;
    if (size > run->limits.memory) weft_jinja_allocate(run, size); /* fails */
    size_t capacity = builder->capacity * 2 > builder->size + size ? builder->capacity * 2 : builder->size + size;
    if (capacity < 64) capacity = 64;
    char *bytes = weft_jinja_allocate(run, capacity);
    unsigned char *marks = weft_jinja_allocate(run, capacity);
    if (builder->size) {
        memcpy(bytes, builder->bytes, builder->size);
        memcpy(marks, builder->marks, builder->size);
    }
    builder->bytes = bytes;
    builder->marks = marks;
    builder->capacity = capacity;
}

void weft_jinja_put(jinja_run *run, jinja_builder *builder, const char *bytes, size_t size, bool own) {
    make_room(run, builder, size);
    if (!size) return;
    memcpy(builder->bytes + builder->size, bytes, size);
    memset(builder->marks + builder->size, own, size);
    builder->size += size;
}

void weft_jinja_put_string(jinja_run *run, jinja_builder *builder, const jinja_string *string) {
    size_t at = builder->size;
    weft_jinja_put(run, builder, string->bytes, string->size, string->own);
    if (string->marks && string->size) memcpy(builder->marks + at, string->marks, string->size);
}

jinja_value weft_jinja_built(jinja_run *run, const jinja_builder *builder) {
    jinja_string *string = weft_jinja_allocate(run, sizeof *string);
    bool own = builder->size == 0 || builder->marks[0];
    bool mixed = builder->size && memchr(builder->marks, !own, builder->size) != NULL;
    *string = (jinja_string){
        .bytes = builder->size ? builder->bytes : "", .marks = mixed ? builder->marks : NULL, .size = builder->size, .own = own};
    return (jinja_value){.kind = JINJA_STRING, .string = string};
}
