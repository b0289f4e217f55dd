/* Engine options: defaults and rules. */
#include <inttypes.h>

#include "decoder/engine.h"
#include "weft/ops/attention.h"
#include "weft/ops/sample.h"
#include "weft/ops/step.h"

#define DEFAULT_CTX 4096
#define DEFAULT_PAGE_SIZE 64
/* The number of heads in a step is limited in order to limit the memory for logits: 64 rows of 152,000 logits are 39 MB. */
#define MIN_HEADS 16
#define TOP_HEADS 64
#define LOGITS_HEADS 64
#define MAX_CTX (1 << 26)
#define MAX_SEQUENCES (1 << 16)

static bool is_power_of_two(int32_t n) {
    return n > 0 && (n & (n - 1)) == 0;
}

static int32_t power_of_two_from(int32_t n) {
    int32_t power = 1;
    while (power < n) power *= 2;
    return power;
}

static int32_t min(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int32_t or_default(int32_t given, int32_t otherwise) {
    return given == 0 ? otherwise : given;
}

static weft_status check_range(const char *name, int64_t value, int64_t low, int64_t high, weft_error *error) {
    if (value >= low && value <= high) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s is %" PRId64 "; it can be %" PRId64 " to %" PRId64, name, value, low, high);
}

static weft_status check_reserved(const weft_engine_options *options, weft_error *error) {
    const weft_device_options *of_device = &options->device_options;
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    return weft_require_zero("device_options.reserved", of_device->reserved, sizeof of_device->reserved, error);
}

/* The number of pages. The sizes have been checked. */
static weft_status configure_pages(const weft_engine_options *options, weft_engine_config *config, weft_error *error) {
    config->max_pages = (config->n_ctx + config->page_size - 1) / config->page_size;
    int64_t n_pages = (int64_t)config->max_pages * config->n_sequences;
    if (options->n_cache != 0) n_pages = (options->n_cache - 1) / config->page_size + 1;
    /* Both halves of a page, and the flat index of a page table entry, are 32-bit numbers on the device. */
    weft_status status = check_range("the number of KV-cache pages", n_pages, 1, INT32_MAX / 2, error);
    if (status != WEFT_OK) return status;
    config->n_pages = (int32_t)n_pages;
    config->max_kept = config->n_pages;
    if (options->n_kept != 0) config->max_kept = (int32_t)min64((options->n_kept - 1) / config->page_size + 1, n_pages);
    if (options->n_kept < 0) config->max_kept = -1;
    return check_range("n_ctx / page_size * n_sequences", ((int64_t)config->max_pages + WEFT_SEQUENCE_PAGES) * config->n_sequences,
                       1, INT32_MAX, error);
}

/* The pages that a sequence has once it has passed those out of the window, with the page of its next row, are n_own - 1 or
 * fewer. Steps that are queued, and the rows that come next, use the spare ones. */
static void configure_windowed(int32_t window, weft_engine_config *config) {
    const int32_t max_queued = 2, page_size = config->page_size;
    const int64_t n_own = ((int64_t)window + WEFT_KEPT_POSITIONS + WEFT_ATTENTION_RANGE) / page_size + 3;
    const int64_t n_spare = ((int64_t)(max_queued + 1) * config->max_rows - 1) / page_size + 1;
    const int64_t n_pages = n_own * config->n_sequences + n_spare;
    if (n_pages >= config->n_pages) return;
    config->windowed =
        (weft_windowed_config){.window = window, .n_pages = (int32_t)n_pages, .n_own = (int32_t)n_own, .n_spare = (int32_t)n_spare};
}

static void configure_windows(const weft_model *model, weft_engine_config *config) {
    int32_t largest = 0;
    bool all = true;
    for (int32_t i = 0; i < model->hyper.n_layers; i++) {
        int32_t window = weft_family_layer(model->family, &model->hyper, i).window;
        all = all && window > 0;
        largest = window > largest ? window : largest;
    }
    if (all)
        config->window = largest;
    else if (largest > 0)
        configure_windowed(largest, config);
}

static void configure_heads(weft_engine_config *config) {
    int32_t plain = min(config->max_rows, power_of_two_from(config->n_sequences > MIN_HEADS ? config->n_sequences : MIN_HEADS));
    config->max_heads[WEFT_GIVES_TOKEN] = plain;
    config->max_heads[WEFT_GIVES_TOP] = min(config->max_rows, plain > TOP_HEADS ? plain : TOP_HEADS);
    config->max_heads[WEFT_GIVES_LOGITS] = min(plain, LOGITS_HEADS);
    config->max_heads[WEFT_GIVES_EMBEDDING] = config->max_heads[config->logits ? WEFT_GIVES_LOGITS : WEFT_GIVES_TOP];
}

weft_status weft_engine_configure(const weft_model *model, const weft_engine_options *options, weft_engine_config *config,
                                  weft_error *error) {
    if (!model->has_weights || !model->family)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s holds a vocabulary and no weights", model->path);
    if (model->unreadable)
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: tensor %s has type %s, which weft cannot read", model->path,
                         model->unreadable->name, model->unreadable->type_name);
    const weft_engine_options none = {.n_ctx = 0};
    if (!options) options = &none;
    weft_status status = check_reserved(options, error);
    if (status != WEFT_OK) return status;
    int32_t n_vocab = model->hyper.n_vocab;
    weft_engine_config c = {
        .precision = options->precision,
        .kv_type = options->precision == WEFT_EXACT || options->kv_f32 ? WEFT_F32 : WEFT_F16,
        .n_ctx = or_default(options->n_ctx, min(model->hyper.n_ctx_train, DEFAULT_CTX)),
        .n_sequences = or_default(options->n_sequences, 1),
        .page_size = or_default(options->page_size, DEFAULT_PAGE_SIZE),
        .max_rows = or_default(options->max_rows, WEFT_MAX_ROWS),
        .max_top = options->max_top,
        .logits = options->logits,
        .embeddings = options->embeddings,
        .refuse_when_full = options->refuse_when_full,
        .unfused = options->unfused,
    };
    if (c.precision != WEFT_FAST && c.precision != WEFT_EXACT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "precision %d is neither WEFT_FAST nor WEFT_EXACT", (int)c.precision);
    status = check_range("n_ctx", c.n_ctx, 1, MAX_CTX, error);
    if (status == WEFT_OK) status = check_range("n_sequences", c.n_sequences, 1, MAX_SEQUENCES, error);
    if (status == WEFT_OK) status = check_range("max_top", c.max_top, 0, min(WEFT_MAX_TOP, n_vocab), error);
    if (status == WEFT_OK) status = check_range("n_cache", options->n_cache, 0, INT64_MAX, error);
    if (status == WEFT_OK) status = check_range("n_kept", options->n_kept, -1, INT64_MAX, error);
    if (status == WEFT_OK) status = check_range("page_size", c.page_size, 1, MAX_CTX, error);
    if (status == WEFT_OK) status = check_range("max_rows", c.max_rows, 1, WEFT_MAX_ROWS, error);
    if (status == WEFT_OK) status = check_range("max_step_ms", options->max_step_ms, 0, INT32_MAX, error);
    if (status != WEFT_OK) return status;
    if (!is_power_of_two(c.page_size) || !is_power_of_two(c.max_rows))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "page_size (%d) and max_rows (%d) must be powers of two", (int)c.page_size,
                         (int)c.max_rows);
    status = configure_pages(options, &c, error);
    if (status != WEFT_OK) return status;
    if (!options->keep_all_pages) configure_windows(model, &c);
    configure_heads(&c);
    *config = c;
    return WEFT_OK;
}
