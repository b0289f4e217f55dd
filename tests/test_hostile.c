/* Damaged and hostile model files, made from good ones by a seeded generator that knows what each change must lead to.
 *     test_hostile [seed [files of each family that must be refused]]
 * A change that breaks the structure or the sense of a file must be refused, quickly and with little memory. A change of weights or
 * of free text alone must be accepted. Any other change may be accepted or refused, but must do no harm. */
#include "decoder/model.h"
#include "decoder/synth.h"
#include "limited_allocator.h"
#include "model_fields.h"
#include "os/os.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATH "test_hostile.tmp"
#define HEAD_DIM 16
#define MEMORY_LIMIT ((size_t)4 << 20)
#define TIME_LIMIT ((uint64_t)5000000000) /* generous: CI machines stall */

typedef enum verdict { BROKEN, EITHER, HARMLESS, VERDICT_COUNT } verdict;

static uint64_t seed = 20240607;
static size_t n_refused = 2600;
static weft_runtime *runtime;

/* The file that is damaged, and its damaged copy with room to grow. */
static const weft_synth_model bases[] = {
    {"hostile", "llama", 2, 64, 4, 2, HEAD_DIM, 96, 300, 1024, 1e-5f, 10000, false, 8, NULL},
    {"hostile", "qwen2", 2, 64, 4, 2, HEAD_DIM, 96, 300, 1024, 1e-6f, 1000000, true, 0, NULL},
};
static const weft_synth_model *base;
static unsigned char *good, *bytes;
static size_t n_good, n_bytes;
static field_list fields;
static char what[200]; /* the last change, for messages */

static uint64_t counter;

static uint64_t number(void) {
    return weft_synth_key(seed, counter++);
}

static size_t below(size_t n) {
    return (size_t)(number() % n);
}

/* ---- What a change of one field must lead to ---- */

static bool has_prefix(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool has_suffix(const char *text, const char *suffix) {
    size_t size = strlen(text), end = strlen(suffix);
    return size >= end && strcmp(text + size - end, suffix) == 0;
}

static bool ends_in_one_of(const char *text, const char *const *suffixes) {
    for (; *suffixes; suffixes++) {
        if (has_suffix(text, *suffixes)) return true;
    }
    return false;
}

/* Keys without which a file means nothing; the names of the others may be anything. */
static const char *const required[] = {
    "general.architecture", ".block_count",          ".context_length",          ".embedding_length",
    ".feed_forward_length", ".attention.head_count", ".attention.head_count_kv", ".layer_norm_rms_epsilon",
    "tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.merges",    NULL};
/* Numbers that follow from the tensors' shapes or from other numbers. */
static const char *const pinned[] = {".block_count",
                                     ".embedding_length",
                                     ".feed_forward_length",
                                     ".attention.head_count",
                                     ".attention.head_count_kv",
                                     ".attention.key_length",
                                     ".attention.value_length",
                                     NULL};

/* Numbers that nothing depends on. */
static const char *const unused[] = {".vocab_size", "padding_token_id", NULL};

static verdict of_number(const field *changed, uint64_t value) {
    const char *key = changed->owner;
    if (ends_in_one_of(key, unused)) return HARMLESS;
    if (changed->type == 7) return value > 1 ? BROKEN : EITHER;
    if (ends_in_one_of(key, pinned)) return BROKEN;
    if (has_suffix(key, ".rope.dimension_count")) {
        return base->freq_factor != 0 || value == 0 || value % 2 || value > (uint64_t)base->head_dim ? BROKEN : EITHER;
    }
    if (has_suffix(key, ".context_length")) return value == 0 || value > 1 << 27 ? BROKEN : EITHER;
    if (has_suffix(key, "_token_id")) return value >= (uint64_t)base->n_vocab && value != UINT32_MAX ? BROKEN : EITHER;
    if (changed->type != 6) return EITHER;
    uint32_t bits = (uint32_t)value;
    float real;
    memcpy(&real, &bits, sizeof real);
    if (has_suffix(key, "_epsilon")) return !(real >= 1e-15f && real <= 0.1f) ? BROKEN : EITHER;
    return !(real >= 2 && real <= 1e12f) ? BROKEN : EITHER; /* rope.freq_base */
}

/* A type of the same size may be accepted, unless the key needs another kind of value. */
static verdict of_type(const field *changed, uint64_t value) {
    static const size_t sizes[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    static const char kinds[13] = {'i', 'i', 'i', 'i', 'i', 'i', 'f', 'b', 's', 'a', 'i', 'i', 'f'};
    uint32_t type = changed->kind == FIELD_VALUE_TYPE ? changed->type : (uint32_t)field_load(good + changed->at, 4);
    if (value > 12 || sizes[value] != sizes[type] || sizes[value] == 0) return BROKEN;
    if (has_prefix(changed->owner, "general.") || ends_in_one_of(changed->owner, unused)) return EITHER;
    return kinds[value] != kinds[type] ? BROKEN : EITHER;
}

static verdict of_text(const field *changed) {
    static const char *const fixed[] = {"general.architecture", "tokenizer.ggml.model", "tokenizer.ggml.pre", NULL};
    if (ends_in_one_of(changed->owner, fixed)) return BROKEN;
    return has_prefix(changed->owner, "general.") ? HARMLESS : EITHER;
}

static verdict of_field(const field *changed) {
    uint64_t value = field_load(bytes + changed->at, changed->size < 8 ? changed->size : 8);
    switch (changed->kind) {
    case FIELD_VERSION:
        return value == 2 || value == 3 ? HARMLESS : BROKEN;
    case FIELD_KEY:
        return ends_in_one_of(changed->owner, required) ? BROKEN : EITHER;
    case FIELD_VALUE_TYPE:
    case FIELD_ELEMENT_TYPE:
        return of_type(changed, value);
    case FIELD_NUMBER:
        return of_number(changed, value);
    case FIELD_ELEMENT:
        return value > 6 ? BROKEN : EITHER; /* token types */
    case FIELD_TEXT:
        return of_text(changed);
    case FIELD_PADDING:
        return HARMLESS;
    case FIELD_DATA:
        return base->freq_factor != 0 ? EITHER : HARMLESS;
    case FIELD_TENSOR_COUNT: /* what is no longer counted may be taken for bytes after the end */
        return value < field_load(good + changed->at, 8) ? EITHER : BROKEN;
    case FIELD_TENSOR_TYPE: /* the same for the last tensor's data; of a type that weft does not know no engine is made */
        if (!weft_type_get((weft_type)value)) return EITHER;
        return strcmp(changed->owner, base->tied ? "output_norm.weight" : "output.weight") == 0 ? EITHER : BROKEN;
    default:
        return BROKEN;
    }
}

/* ---- Changes ---- */

/* Fields of token and merge texts are most of a file: half of the choices are made among the others. */
static const field *any_field(void) {
    bool rare = number() % 2;
    for (;;) {
        const field *chosen = &fields.items[below(fields.n_items)];
        bool common = has_prefix(chosen->owner, "tokenizer.ggml.tokens") || has_prefix(chosen->owner, "tokenizer.ggml.merges") ||
                      has_prefix(chosen->owner, "tokenizer.ggml.token_type");
        if (chosen->size && !(rare && common)) return chosen;
    }
}

static verdict cut_short(void) {
    n_bytes = number() % 2 ? below(fields.data_end) : fields.items[below(fields.n_items - 1)].at + below(9);
    snprintf(what, sizeof what, "cut to %zu bytes", n_bytes);
    return BROKEN;
}

static verdict flip_a_bit(void) {
    const field *changed = any_field();
    size_t bit = below(changed->size * 8);
    bytes[changed->at + bit / 8] ^= (unsigned char)(1 << bit % 8);
    snprintf(what, sizeof what, "bit %zu of field %d (%s) at %zu", bit, changed->kind, changed->owner, changed->at);
    return of_field(changed);
}

static verdict set_a_number(void) {
    static const uint64_t values[] = {0,          1,          2,          3,          4,           5,           7,
                                      8,          9,          10,         12,         13,          16,          17,
                                      31,         32,         33,         64,         255,         256,         299,
                                      300,        301,        4096,       65535,      65536,       0x7FC00000,  0x7F800000,
                                      0xFF800000, 0x3F800000, 0x00000001, 0x7FFFFFFF, 0x80000000u, 0xFFFFFFFFu, 1ull << 32,
                                      1ull << 40, 1ull << 60, 1ull << 61, 1ull << 62, 1ull << 63,  UINT64_MAX,  UINT64_MAX - 31};
    for (;;) {
        const field *changed = any_field();
        if (changed->size > 8 || changed->kind == FIELD_KEY || changed->kind == FIELD_TEXT) continue;
        uint64_t value = values[below(sizeof values / sizeof *values)];
        if (number() % 4 == 0) value = field_load(good + changed->at, changed->size) + (number() % 2 ? 1 : UINT64_MAX);
        for (size_t i = 0; i < changed->size; i++) bytes[changed->at + i] = (unsigned char)(value >> 8 * i);
        if (memcmp(bytes + changed->at, good + changed->at, changed->size) == 0) continue;
        snprintf(what, sizeof what, "%llu in field %d (%s) at %zu", (unsigned long long)value, changed->kind, changed->owner,
                 changed->at);
        return of_field(changed);
    }
}

/* Two fields of one kind and size, with different contents, change places: no key or tensor is what it was. */
static verdict exchange(field_kind kind) {
    for (;;) {
        const field *a = &fields.items[below(fields.n_items)], *b = &fields.items[below(fields.n_items)];
        if (a->kind != kind || b->kind != kind || a->size != b->size) continue;
        if (memcmp(good + a->at, good + b->at, a->size) == 0) continue;
        memcpy(bytes + a->at, good + b->at, a->size);
        if (number() % 2) { /* or one of them is there twice */
            memcpy(bytes + b->at, good + a->at, a->size);
            snprintf(what, sizeof what, "fields %d of %s and %s exchanged", kind, a->owner, b->owner);
            return EITHER;
        }
        snprintf(what, sizeof what, "field %d of %s set to that of %s", kind, a->owner, b->owner);
        return BROKEN;
    }
}

static verdict repeat_a_key(void) {
    return exchange(FIELD_KEY);
}
static verdict repeat_a_name(void) {
    return exchange(FIELD_NAME);
}
static verdict repeat_an_offset(void) {
    return exchange(FIELD_OFFSET);
}

static verdict append(void) {
    size_t n = 1 + below(100);
    for (size_t i = 0; i < n; i++) bytes[n_bytes++] = (unsigned char)number();
    snprintf(what, sizeof what, "%zu bytes appended", n);
    return HARMLESS;
}

static verdict overwrite(void) {
    size_t header = fields.items[fields.n_items - 1].at, at = below(header), n = 1 + below(64);
    for (size_t i = 0; i < n && at + i < header; i++) bytes[at + i] = (unsigned char)number();
    snprintf(what, sizeof what, "%zu random bytes at %zu", n, at);
    return EITHER;
}

static verdict take_out(void) {
    size_t at = below(n_bytes - 100), n = 1 + below(64);
    memmove(bytes + at, bytes + at + n, n_bytes - at - n);
    n_bytes -= n;
    snprintf(what, sizeof what, "%zu bytes taken out at %zu", n, at);
    return EITHER;
}

static verdict change_weights(void) {
    const field *data = &fields.items[fields.n_items - 1];
    for (size_t n = 1 + below(50); n > 0; n--) bytes[data->at + below(data->size)] = (unsigned char)number();
    snprintf(what, sizeof what, "weights");
    return of_field(data);
}

static verdict (*const changes[])(void) = {
    cut_short,    cut_short,    flip_a_bit,    flip_a_bit,       flip_a_bit, flip_a_bit, set_a_number, set_a_number,   set_a_number,
    set_a_number, repeat_a_key, repeat_a_name, repeat_an_offset, append,     overwrite,  take_out,     change_weights,
};

/* ---- Trying ---- */

/* An accepted file must be usable: it gives a graph, a finite rope table, and text. */
static void use(weft_model *model) {
    static const char text[] = "Hello, the \xE4\xB8\xAD <|eot_id|> world\n";
    weft_graph *graph = NULL;
    float table[HEAD_DIM * 4];
    weft_error error = {.message = ""};
    weft_status built = weft_model_graph(model, &(weft_engine_options){.n_ctx = 128}, 2, 1, &graph, &error);
    bool usable = model->has_weights && !model->unreadable;
    if (built && usable) print_error("%s: %s\n", what, error.message);
    assert_int_equal(built, usable ? WEFT_OK : WEFT_UNSUPPORTED);
    if (!usable) return;
    weft_graph_destroy(graph);
    assert_int_equal(weft_rope_table(&model->hyper.rope, 100, 4, table, NULL), WEFT_OK);
    for (int i = 0; i < model->hyper.rope.n_dims * 4; i++) assert_true(isfinite(table[i]));
    weft_model_info info;
    weft_token tokens[64];
    char value[100];
    const char *key, *type;
    size_t count = 0, size = 0;
    weft_model_describe(model, &info);
    for (size_t i = 0; weft_model_metadata(model, i, &key, &type, value, sizeof value); i++)
        assert_true(strlen(value) < sizeof value);
    if (weft_tokenize(model, text, sizeof text - 1, true, tokens, 64, &count, NULL) == WEFT_OK) {
        weft_detokenize(model, tokens, count, true, value, sizeof value, &size, NULL);
    }
}

static void save(void) {
    remove(PATH); /* some file systems wait for the disk when a file is written again in its place */
    FILE *file = fopen(PATH, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    assert_int_equal(fclose(file), 0);
}

static void try(size_t index, verdict expected) {
    weft_error error = {.message = ""};
    weft_model *model = NULL;
    limited_allocator limits = {0};
    weft_runtime *limited = limited_runtime(&limits);
    save();
    uint64_t start = weft_os_now();
    weft_status status = weft_model_open(limited, PATH, &model, &error);
    uint64_t time = weft_os_now() - start;
    bool right = (status == WEFT_OK) == (model != NULL) && status != WEFT_OUT_OF_MEMORY && status != WEFT_IO &&
                 (status == WEFT_OK || (error.status == status && error.message[0])) &&
                 !(status == WEFT_OK && expected == BROKEN) && !(status && expected == HARMLESS);
    if (!right || time > TIME_LIMIT || limits.peak > MEMORY_LIMIT) {
        print_error("seed %llu, file %zu, %s, %s: status %d (%s), %llu ms, %zu bytes\n", (unsigned long long)seed, index,
                    base->family, what, status, error.message, (unsigned long long)(time / 1000000), limits.peak);
    }
    assert_true(right);
    assert_true(time <= TIME_LIMIT);
    assert_true(limits.peak <= MEMORY_LIMIT);
    if (model) use(model);
    weft_model_close(model);
    weft_runtime_destroy(limited);
    assert_int_equal(limits.n_live, 0);
}

static void make_base(const weft_synth_model *model) {
    base = model;
    weft_os_file file;
    assert_int_equal(weft_synth_write(runtime, model, weft_mix_find("Q4_0"), &(weft_synth_options){.seed = 1}, PATH, NULL),
                     WEFT_OK);
    assert_int_equal(weft_os_file_open(&file, PATH, NULL), WEFT_OK);
    n_good = (size_t)file.size;
    good = malloc(n_good);
    bytes = malloc(n_good + 256);
    assert_true(good && bytes);
    assert_int_equal(weft_os_file_read(&file, 0, good, n_good, NULL), WEFT_OK);
    weft_os_file_close(&file);
    field_scan(&fields, good, n_good,
               model->tied ? (size_t)model->n_embd * 4 : (size_t)model->n_embd / 32 * 34 * (size_t)model->n_vocab);
    assert_true(fields.data_end <= n_good && fields.data_end + 32 > n_good);
}

static void drop_base(void) {
    free(good);
    free(bytes);
    free(fields.items);
}

static void handles_damaged_files(void **state) {
    (void)state;
    size_t counts[VERDICT_COUNT] = {0};
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        make_base(&bases[i]);
        memcpy(bytes, good, n_good);
        n_bytes = n_good;
        snprintf(what, sizeof what, "nothing");
        try(0, HARMLESS);
        size_t wanted = counts[BROKEN] + n_refused;
        for (size_t file = 1; counts[BROKEN] < wanted; file++) {
            counter = (uint64_t)file << 20 | (uint64_t)i << 60; /* each file has its own sequence of random numbers */
            memcpy(bytes, good, n_good);
            n_bytes = n_good;
            verdict expected = changes[below(sizeof changes / sizeof *changes)]();
            counts[expected]++;
            try(file, expected);
        }
        drop_base();
    }
    print_message("seed %llu: %zu files that must be refused, %zu that must be accepted, %zu of either kind\n",
                  (unsigned long long)seed, counts[BROKEN], counts[HARMLESS], counts[EITHER]);
    assert_true(counts[HARMLESS] > 0 && counts[EITHER] > 0);
}

static void refuses_every_short_header(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        make_base(&bases[i]);
        memcpy(bytes, good, n_good);
        for (size_t j = 1; j < fields.n_items; j++) {
            if (j > 400 && j % 16) continue; /* tokens and merges are alike */
            n_bytes = fields.items[j].at;
            snprintf(what, sizeof what, "cut before field %d (%s)", fields.items[j].kind, fields.items[j].owner);
            try(j, BROKEN);
        }
        drop_base();
    }
}

static int begin(void **state) {
    (void)state;
    return weft_runtime_create(NULL, &runtime, NULL) != WEFT_OK;
}

static int end(void **state) {
    (void)state;
    weft_runtime_destroy(runtime);
    remove(PATH);
    return 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handles_damaged_files),
        cmocka_unit_test(refuses_every_short_header),
    };
    if (argc > 1) seed = strtoull(argv[1], NULL, 10);
    if (argc > 2) n_refused = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, begin, end);
}
