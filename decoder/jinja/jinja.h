/* The template language of chat templates: the part of Jinja that they use, as Hugging Face's apply_chat_template runs it
 * (ImmutableSandboxedEnvironment of Jinja 3.1 with trim_blocks, lstrip_blocks, loop controls, raise_exception, strftime_now and a
 * tojson of its own). https://jinja.palletsprojects.com/en/stable/templates/
 *
 * A template comes with a file that nobody has read, so everything about a run is bounded: steps, output, nesting, memory. It has
 * no way to files, clocks or anything else but what it is given. Messages of failures have a line and a column.
 */
#ifndef WEFT_DECODER_JINJA_JINJA_H
#define WEFT_DECODER_JINJA_JINJA_H

#include <stdatomic.h>

#include "decoder/gguf.h"

/* 0 is the default. */
typedef struct weft_jinja_limits {
    size_t steps;  /* 16 Mi: a node run, or some 32 bytes copied */
    size_t output; /* bytes; 16 MiB */
    size_t nesting;
    size_t memory; /* bytes; 256 MiB */
} weft_jinja_limits;

typedef struct weft_jinja weft_jinja; /* a parsed template; any thread may run it */

/* The source is copied. WEFT_UNSUPPORTED where it uses what weft has not, WEFT_BAD_FILE where it is not a template. */
weft_status weft_jinja_parse(weft_runtime *runtime, weft_text source, const weft_jinja_limits *limits, weft_jinja **parsed,
                             weft_error *error);
void weft_jinja_destroy(weft_jinja *parsed);

/* A variable whose text is the template's own, such as bos_token. */
typedef struct weft_jinja_own {
    const char *name;
    weft_text text;
} weft_jinja_own;

typedef struct weft_jinja_input {
    weft_text variables; /* a JSON object: each member is a variable, given from outside. Empty: none */
    weft_text messages;  /* JSON, as the variables that follow; empty: not defined */
    weft_text tools, documents;
    const weft_jinja_own *own;
    size_t n_own;
    bool add_generation_prompt;
    bool continue_last; /* the text ends where the last message does, which must be one that the assistant has begun */
    bool (*clock)(void *user, weft_date *now); /* NULL: strftime_now is not defined */
    void *clock_user;
    const atomic_bool *cancelled; /* may be NULL */
} weft_jinja_input;

/* The text, and for each byte whether it is the template's own. */
typedef struct weft_jinja_rendered {
    char *bytes;
    unsigned char *own;
    size_t size;
} weft_jinja_rendered;

/* Both arrays are from the runtime's allocator and the caller's; on failure there are none. The template's own failures
 * (raise_exception, an operation on wrong values) and broken JSON are WEFT_INVALID_ARGUMENT, a limit WEFT_UNSUPPORTED. */
weft_status weft_jinja_render(const weft_jinja *parsed, const weft_jinja_input *input, const weft_jinja_limits *limits,
                              weft_jinja_rendered *output, weft_error *error);

#endif
