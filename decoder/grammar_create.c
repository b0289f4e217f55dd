/* Compiling a grammar: text, rules, automata. */
#include "decoder/grammar.h"

#include "decoder/matcher.h"
#include "decoder/model.h"

#include <string.h>

#define MAX_TEXT ((size_t)1 << 20)
#define MAX_STEPS ((size_t)1 << 27)
#define MAX_MEMORY ((size_t)256 << 20)
#define MAX_NESTING 200
#define MAX_TREE_DEPTH 2000 /* each level of nesting is several of the tree */

/* ---- The model's trie ---- */

/* Made by the first grammar. If two threads make it at once, one of the two is kept. */
static weft_status find_trie(weft_model *model, const grammar_trie **trie, weft_error *error) {
    grammar_trie *made = NULL, *kept = atomic_load(&model->trie);
    if (!kept) {
        weft_status status = weft_trie_create(model->runtime, model->tokenizer, &made, error);
        if (status != WEFT_OK) return status;
        if (atomic_compare_exchange_strong(&model->trie, &kept, made))
            kept = made;
        else
            weft_trie_destroy(made);
    }
    *trie = kept;
    return WEFT_OK;
}

/* ---- Compiling ---- */

static void make_automata(grammar_builder *builder, const grammar_trie *trie) {
    const grammar_source *source = builder->source;
    builder->run->limits.nesting = MAX_TREE_DEPTH;
    builder->states =
        weft_grammar_grow(builder, builder->states, builder->n_states, &builder->states_size, sizeof *builder->states);
    builder->n_states = GRAMMAR_END + 1;
    builder->starts = weft_jinja_allocate(builder->run, (source->n_rules + (size_t)1) * sizeof *builder->starts);
    weft_grammar_choose_inline(builder);
    for (uint32_t rule = 0; rule < source->n_rules; rule++) {
        weft_grammar_to_nfa(builder, rule);
        builder->starts[rule] = weft_grammar_to_dfa(builder);
    }
    weft_grammar_bound(builder, trie);
    weft_grammar_classify(builder, trie);
}

/* The limits of a run speak of "it". */
static weft_status tell(const jinja_run *run) {
    if (!run->error || strncmp(run->error->message, "it ", 3) != 0) return run->status;
    const weft_error told = *run->error;
    return weft_fail(run->error, run->status, "the grammar cannot be compiled: %s", told.message);
}

static weft_status compile(grammar_builder *builder, grammar_source *source, weft_grammar_kind kind, weft_text text,
                           const grammar_trie *trie) {
    if (setjmp(builder->run->end)) return tell(builder->run);
    if (kind == WEFT_GRAMMAR_JSON)
        weft_schema_any(source);
    else if (kind == WEFT_GRAMMAR_JSON_SCHEMA)
        weft_schema_read(source, text);
    else
        weft_grammar_read_notation(source, text);
    make_automata(builder, trie);
    return WEFT_OK;
}

/* Moves an array to memory of its size. */
static void *fitted(weft_runtime *runtime, const void *array, size_t n, size_t size, bool *failed) {
    void *copy = weft_allocate(runtime, (n + 1) * size);
    if (copy && n) memcpy(copy, array, n * size);
    *failed = *failed || !copy;
    return copy;
}

static weft_status finish(const grammar_builder *builder, const grammar_source *source, weft_grammar *grammar, weft_error *error) {
    weft_runtime *runtime = builder->runtime;
    bool failed = false;
    grammar->n_states = (uint32_t)builder->n_states;
    grammar->n_edges = (uint32_t)builder->n_edges;
    grammar->n_calls = (uint32_t)builder->n_calls;
    grammar->start = builder->starts[source->root];
    grammar->states = fitted(runtime, builder->states, builder->n_states, sizeof *grammar->states, &failed);
    grammar->edges = fitted(runtime, builder->edges, builder->n_edges, sizeof *grammar->edges, &failed);
    grammar->calls = fitted(runtime, builder->calls, builder->n_calls, sizeof *grammar->calls, &failed);
    grammar->classes = fitted(runtime, builder->classes, builder->n_states, sizeof *grammar->classes, &failed);
    grammar->masks = weft_allocate(runtime, builder->n_states * sizeof *grammar->masks);
    if (failed || !grammar->masks)
        return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a grammar of %u states", (unsigned)grammar->n_states);
    for (uint32_t i = 0; i < grammar->n_states; i++) atomic_init(&grammar->masks[i], NULL);
    return WEFT_OK;
}

static weft_status fill(weft_grammar *grammar, weft_grammar_kind kind, weft_text text, weft_error *error) {
    weft_runtime *runtime = grammar->runtime;
    jinja_run *run = weft_allocate(runtime, sizeof *run);
    if (!run) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to compile a grammar");
    run->runtime = runtime;
    run->limits = (weft_jinja_limits){.steps = MAX_STEPS, .output = MAX_MEMORY, .nesting = MAX_NESTING, .memory = MAX_MEMORY};
    run->error = error;
    grammar_source source = {.run = run};
    grammar_builder builder = {.runtime = runtime, .run = run, .source = &source};
    weft_status status = compile(&builder, &source, kind, text, grammar->trie);
    if (status == WEFT_OK) status = finish(&builder, &source, grammar, error);
    weft_release(runtime, builder.states);
    weft_release(runtime, builder.edges);
    weft_release(runtime, builder.calls);
    weft_release(runtime, builder.nfa_edges);
    weft_release(runtime, builder.subsets);
    weft_release(runtime, builder.members);
    weft_jinja_free_all(run);
    weft_release(runtime, run);
    return status;
}

weft_status weft_grammar_create(weft_model *model, weft_grammar_kind kind, const char *text, size_t size, weft_grammar **grammar,
                                weft_error *error) {
    if (!model || (!text && size) || !grammar)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_grammar_create: model, text or grammar is missing");
    if (kind != WEFT_GRAMMAR_NOTATION && kind != WEFT_GRAMMAR_JSON && kind != WEFT_GRAMMAR_JSON_SCHEMA)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_grammar_create: there is no kind %d", (int)kind);
    if (kind == WEFT_GRAMMAR_JSON && size)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_grammar_create: WEFT_GRAMMAR_JSON has no text");
    if (size > MAX_TEXT) return weft_fail(error, WEFT_UNSUPPORTED, "a grammar of %zu bytes is longer than %zu", size, MAX_TEXT);
    weft_grammar *made = weft_allocate(model->runtime, sizeof *made);
    if (!made) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory for a grammar");
    made->runtime = model->runtime;
    weft_status status = find_trie(model, &made->trie, error);
    if (status == WEFT_OK) status = fill(made, kind, (weft_text){text ? text : "", size}, error);
    if (status != WEFT_OK) {
        weft_grammar_destroy(made);
        return status;
    }
    *grammar = made;
    return WEFT_OK;
}

void weft_grammar_destroy(weft_grammar *grammar) {
    if (!grammar) return;
    for (uint32_t i = 0; grammar->masks && i < grammar->n_states; i++) weft_mask_destroy(grammar, atomic_load(&grammar->masks[i]));
    weft_release(grammar->runtime, grammar->masks);
    weft_release(grammar->runtime, grammar->classes);
    weft_release(grammar->runtime, grammar->states);
    weft_release(grammar->runtime, grammar->edges);
    weft_release(grammar->runtime, grammar->calls);
    weft_release(grammar->runtime, grammar);
}

size_t weft_grammar_mask_words(const weft_grammar *grammar) {
    return grammar ? grammar->trie->n_words : 0;
}
