#include "core/op.h"

#include <string.h>

#define WEFT_OP(number, stem, enum_name, inputs, outputs) extern const weft_op_rules weft_op_rules_##stem;
#include "weft/ops.def"
#undef WEFT_OP

static const weft_op_row rows[] = {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) [number] = {#stem, inputs, outputs, &weft_op_rules_##stem},
#include "weft/ops.def"
#undef WEFT_OP
};

size_t weft_op_count(void) {
    return sizeof rows / sizeof *rows;
}

const weft_op_row *weft_op_get(weft_op op) {
    size_t index = (size_t)op;
    return index < weft_op_count() && rows[index].name ? &rows[index] : NULL;
}

const char *weft_op_name(weft_op op) {
    const weft_op_row *row = weft_op_get(op);
    return row ? row->name : NULL;
}

/* The next word of `*ports`, which moves past it; 0 at the end. */
static size_t next_port(const char **ports, const char **word) {
    const char *at = *ports;
    while (*at == ' ') at++;
    *word = at;
    while (*at != ' ' && *at != 0) at++;
    *ports = at;
    return (size_t)(at - *word);
}

static size_t count_ports(const char *ports) {
    const char *word;
    size_t count = 0;
    while (next_port(&ports, &word)) count++;
    return count;
}

size_t weft_op_input_count(weft_op op) {
    const weft_op_row *row = weft_op_get(op);
    return row ? count_ports(row->inputs) : 0;
}

size_t weft_op_output_count(weft_op op) {
    const weft_op_row *row = weft_op_get(op);
    return row ? count_ports(row->outputs) : 0;
}

bool weft_op_port(const char *ports, size_t index, char *name, size_t size, bool *optional) {
    const char *word;
    size_t length;
    do {
        length = next_port(&ports, &word);
        if (length == 0) return false;
    } while (index-- > 0);
    *optional = word[length - 1] == '?';
    if (*optional) length--;
    if (length >= size) length = size - 1;
    memcpy(name, word, length);
    name[length] = 0;
    return true;
}

bool weft_op_has_port(const char *ports, const char *name) {
    char other[WEFT_NAME_SIZE];
    bool optional;
    for (size_t i = 0; weft_op_port(ports, i, other, sizeof other, &optional); i++)
        if (strcmp(name, other) == 0) return true;
    return false;
}

int weft_op_state_input(const weft_op_row *row, size_t output) {
    char name[WEFT_NAME_SIZE], other[WEFT_NAME_SIZE];
    bool optional;
    if (!weft_op_port(row->outputs, output, name, sizeof name, &optional)) return -1;
    for (int i = 0; weft_op_port(row->inputs, (size_t)i, other, sizeof other, &optional); i++)
        if (strcmp(name, other) == 0) return i;
    return -1;
}
