/* Checks each node of a step on every device: alone, within the step, and against the first device. */
#include "check/model/walk.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check/distance.h"
#include "check/op.h"
#include "check/parts.h"

/* A node that is checked on one device after the other. */
typedef struct subject {
    weft_check_walk *walk;
    size_t index;                    /* in the first track's graph */
    weft_check_case c, own;          /* with the first device's inputs, and with those of another one */
    weft_check_saved alone, in_step; /* the first device's results */
    bool alone_known;
    weft_error message; /* of the current device */
} subject;

bool weft_check_walk_goes_on(void *user) {
    const weft_check_walk *walk = user;
    return !walk->progress || walk->progress(walk->progress_user, walk->done, walk->total);
}

/* ---- Measures ---- */

static void set_measure(weft_check_measure *measure, const weft_check_result *result, const char *failure) {
    *measure = (weft_check_measure){.present = true,
                                    .failure = failure,
                                    .nmse = result->nmse,
                                    .nmse_limit = result->nmse_limit,
                                    .error = result->error,
                                    .error_limit = result->error_limit,
                                    .worst_output = result->worst_output,
                                    .worst_row = result->worst_row,
                                    .worst_column = result->worst_column,
                                    .worst_value = result->worst_value,
                                    .worst_expected = result->worst_oracle};
}

static void judge(const weft_check_case *c, bool unstable, weft_check_measure *measure) {
    weft_check_result result = {.op = c->op};
    const char *failure = weft_check_judge(c, &result);
    set_measure(measure, &result, !failure && unstable ? "the same inputs gave different bits" : failure);
}

static void measure_distance(weft_check_case *c, const weft_check_saved *saved, const weft_check_limits *limits,
                             weft_check_measure *measure) {
    weft_check_result result = {.op = c->op};
    const char *failure = weft_check_distance(c, saved, limits, &result);
    set_measure(measure, &result, failure);
}

/* NaN and infinite elements of the case's results; of chosen tokens, log-probabilities that are NaN. Columns of padding rows are
 * left out, as are states: what a node writes there shows in the next node. */
static size_t count_not_finite(const weft_check_case *c, const weft_check_step *step) {
    size_t count = 0;
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        const weft_check_output *output = &c->outputs[i];
        if (!output->present || output->state >= 0 || output->tensor.type != WEFT_F32) continue;
        int64_t n_rows = weft_check_real_rows(step, output->n_rows);
        const float *values = output->result;
        for (int64_t j = 0; j < n_rows * output->n_row; j++) count += isfinite(values[j]) ? 0 : 1;
    }
    float logprob = 0.0f;
    if (c->judge) memcpy(&logprob, (const int32_t *)c->outputs[WEFT_SAMPLE_OUT_CHOSEN].result + 1, sizeof logprob);
    return isnan(logprob) ? count + 1 : count;
}

static void judge_in_step(const weft_check_walk *walk, const weft_check_case *c, weft_check_node *node) {
    judge(c, false, &node->in_step);
    node->n_not_finite = count_not_finite(c, &walk->script.steps[walk->step]);
    if (node->n_not_finite > 0 && !node->in_step.failure) node->in_step.failure = "its result has NaN or infinity";
}

static bool gives_reals(const weft_check_case *c) {
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++)
        if (c->outputs[i].present && c->outputs[i].oracle) return true;
    return false;
}

/* The limits for the accumulated error of all nodes so far. An element's error grows with its size, so there is no limit relative
 * to the row's root mean square. For tokens: the error that reached the head, times 2, plus the head's own limit. The ratio of
 * largest to mean errors is that of limits.c. */
static weft_check_limits drift_limits(const weft_check_walk *walk, size_t device, const weft_check_case *c) {
    weft_check_limits own = weft_check_limits_of(c->op, c->type, c->precision);
    double nmse = 4.0 * walk->tracks[device].drift + own.nmse;
    return (weft_check_limits){.nmse = walk->drift, .error = c->judge ? 6.0 * sqrt(nmse) : INFINITY, .floor = own.floor};
}

/* ---- Reports ---- */

int32_t weft_check_layer_of(const char *name) {
    int layer;
    return sscanf(name, "blk.%d.", &layer) == 1 ? layer : -1;
}

static void count(weft_check_walk *walk, weft_check_node *node) {
    const weft_check_measure *measures[] = {&node->alone, &node->in_step, &node->drift, &node->parts, &node->fused};
    bool measured = false;
    node->passed = true;
    for (size_t i = 0; i < sizeof measures / sizeof measures[0]; i++) {
        measured = measured || measures[i]->present;
        if (measures[i]->failure) node->passed = false;
    }
    weft_check_model_summary *summary = walk->summary;
    if (!node->passed && !summary->failed) {
        summary->failed = true;
        snprintf(summary->first_name, sizeof summary->first_name, "%s", node->name);
        summary->first_device = node->device;
        summary->first_step = node->step;
    }
    if (node->n_not_finite > 0 && !summary->not_finite_name[0]) {
        snprintf(summary->not_finite_name, sizeof summary->not_finite_name, "%s", node->name);
        summary->not_finite_device = node->device;
        summary->not_finite_step = node->step;
    }
    if (!node->passed)
        summary->n_failed++;
    else if (node->skipped || !measured)
        summary->n_skipped++;
    else
        summary->n_passed++;
}

static weft_check_node start_node(const weft_check_walk *walk, const weft_node *node, size_t index, size_t device) {
    return (weft_check_node){.step = walk->step,
                             .n_rows = walk->script.steps[walk->step].n_rows,
                             .index = index,
                             .device = device,
                             .name = node->name,
                             .layer = weft_check_layer_of(node->name),
                             .op = node->op,
                             .kernel = ""};
}

weft_status weft_check_walk_count(weft_check_walk *walk, weft_check_node *node, weft_error *error) {
    count(walk, node);
    weft_status status = walk->report ? walk->report(walk->user, node) : WEFT_OK;
    if (status == WEFT_OK && !weft_check_walk_goes_on(walk)) status = WEFT_CANCELLED;
    return status == WEFT_OK ? WEFT_OK : weft_fail(error, status, "the check was ended at %s", node->name);
}

/* ---- One node ---- */

/* Runs the case. Returns a status that ends the whole check; other failures are reported in `node`. */
static weft_status run_alone(subject *s, size_t device, bool parts, weft_check_measure *measure, weft_check_node *node,
                             weft_error *error) {
    bool unstable = false;
    s->message = (weft_error){.status = WEFT_OK};
    weft_status status = weft_check_execute(&s->c, s->walk->tracks[device].device, parts, &unstable, &s->message);
    if (weft_check_is_fatal(status)) return weft_fail(error, status, "%s: %s", node->name, s->message.message);
    node->kernel = s->c.kernel ? s->c.kernel : "";
    if (status == WEFT_OK)
        judge(&s->c, unstable, measure);
    else if (status == WEFT_UNSUPPORTED)
        node->skipped = s->message.message;
    else
        *measure = (weft_check_measure){.present = true, .failure = s->message.message};
    return WEFT_OK;
}

static weft_status out_of_memory(const weft_check_case *c, weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory to examine %s", c->name);
}

/* A node that cannot be rebuilt is reported and is not an error. */
static weft_status make_case(subject *s, weft_check_node *node, weft_error *error) {
    const weft_check_walk *walk = s->walk;
    weft_status status = weft_check_node_case(&walk->tracks[0], walk->script.model, walk->script.engine.precision, s->index, NULL,
                                              &s->c, &s->message);
    if (status == WEFT_UNSUPPORTED) {
        node->skipped = s->message.message;
        return WEFT_OK;
    }
    if (status != WEFT_OK) return weft_fail(error, status, "%s", s->message.message);
    weft_check_oracle(&s->c);
    return weft_check_ready(&s->c) ? WEFT_OK : out_of_memory(&s->c, error);
}

static weft_status examine_first(subject *s, weft_check_node *node, weft_error *error) {
    weft_status status = weft_check_node_results(&s->walk->tracks[0], s->index, &s->c, error);
    if (status != WEFT_OK) return status;
    judge_in_step(s->walk, &s->c, node);
    weft_check_save(&s->c, &s->in_step);
    status = run_alone(s, 0, false, &node->alone, node, error);
    s->alone_known = status == WEFT_OK && node->alone.present && s->message.status == WEFT_OK;
    if (s->alone_known) weft_check_save(&s->c, &s->alone);
    return status == WEFT_OK && !weft_check_ready(&s->c) ? out_of_memory(&s->c, error) : status;
}

/* If the inputs are the same, the oracle's results are too. */
static void share_oracle(const weft_check_case *from, weft_check_case *to) {
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        to->outputs[i].oracle = from->outputs[i].oracle;
        to->outputs[i].magnitude = from->outputs[i].magnitude;
        to->outputs[i].words = from->outputs[i].words;
    }
    to->judge = from->judge;
    to->judge_data = from->judge_data;
}

/* Checks node `index` of another track's own graph. `like`: its case on the first device, or NULL. */
static weft_status examine_own(subject *s, size_t device, size_t index, const weft_check_case *like, weft_check_node *node,
                               weft_error *error) {
    const weft_check_walk *walk = s->walk;
    const weft_check_track *track = &walk->tracks[device];
    weft_error message;
    weft_status status =
        weft_check_node_case(track, walk->script.model, walk->script.engine.precision, index, like, &s->own, &message);
    if (status == WEFT_UNSUPPORTED) return WEFT_OK;
    if (status != WEFT_OK) return weft_fail(error, status, "%s", message.message);
    if (like && weft_check_same_inputs(like, &s->own))
        share_oracle(like, &s->own);
    else
        weft_check_oracle(&s->own);
    if (!weft_check_ready(&s->own)) return out_of_memory(&s->own, error);
    status = weft_check_node_results(track, index, &s->own, error);
    if (status != WEFT_OK) return status;
    judge_in_step(walk, &s->own, node);
    if (!like || !(gives_reals(&s->own) || s->own.judge)) return WEFT_OK;
    weft_check_limits limits = drift_limits(walk, device, &s->own);
    measure_distance(&s->own, &s->in_step, &limits, &node->drift);
    if (!s->own.judge) {
        walk->tracks[device].drift = node->drift.nmse;
        node->drift.error_limit = 0.0;
    }
    return WEFT_OK;
}

static weft_status examine_other(subject *s, size_t device, weft_check_node *node, weft_error *error) {
    static const weft_check_limits none = {INFINITY, INFINITY, 1e-37};
    const weft_check_track *track = &s->walk->tracks[device];
    weft_status status = run_alone(s, device, false, &node->alone, node, error);
    if (status != WEFT_OK) return status;
    if (node->alone.present && (gives_reals(&s->c) || s->c.judge) && s->alone_known) {
        measure_distance(&s->c, &s->alone, &none, &node->difference);
        node->difference.failure = NULL;
        node->difference.nmse_limit = node->difference.error_limit = 0.0;
    }
    int32_t own = weft_check_track_find(track, node->name, node->op);
    status = own < 0 ? WEFT_OK : examine_own(s, device, (size_t)own, &s->c, node, error);
    weft_check_free(&s->own);
    return status;
}

static weft_status examine_fused(subject *s, weft_check_node *node, weft_error *error) {
    weft_check_limits limits = weft_check_limits_of(s->c.op, s->c.type, s->c.precision);
    weft_status status = run_alone(s, 0, true, &node->parts, node, error);
    if (status != WEFT_OK || !node->parts.present) return status;
    weft_check_save(&s->c, &s->alone);
    if (!weft_check_ready(&s->c)) return out_of_memory(&s->c, error);
    status = run_alone(s, 0, false, &node->alone, node, error);
    if (status == WEFT_OK && node->alone.present) measure_distance(&s->c, &s->alone, &limits, &node->fused);
    return status;
}

static weft_status examine(subject *s, weft_error *error) {
    weft_check_walk *walk = s->walk;
    weft_check_node node = start_node(walk, &walk->tracks[0].index.nodes[s->index], s->index, 0);
    weft_status status = make_case(s, &node, error);
    bool known = status == WEFT_OK && !node.skipped;
    if (known) walk->drift += weft_check_limits_of(s->c.op, s->c.type, s->c.precision).nmse;
    if (known) status = walk->fused ? examine_fused(s, &node, error) : examine_first(s, &node, error);
    if (status == WEFT_OK) status = weft_check_walk_count(walk, &node, error);
    for (size_t device = 1; device < walk->n_tracks && known && status == WEFT_OK; device++) {
        node = start_node(walk, &walk->tracks[0].index.nodes[s->index], s->index, device);
        status = examine_other(s, device, &node, error);
        if (status == WEFT_OK) status = weft_check_walk_count(walk, &node, error);
    }
    weft_check_free(&s->c);
    return status;
}

/* ---- All nodes ---- */

/* Checks nodes that only another device's graph has. */
static weft_status examine_rest(weft_check_walk *walk, size_t device, subject *s, weft_error *error) {
    const weft_check_track *first = &walk->tracks[0], *track = &walk->tracks[device];
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < track->index.n_nodes && status == WEFT_OK; i++) {
        const weft_node *own = &track->index.nodes[i];
        if (own->op == WEFT_OP_NONE || weft_check_track_find(first, own->name, own->op) >= 0) continue;
        weft_check_node node = start_node(walk, own, first->index.n_nodes + i, device);
        status = examine_own(s, device, i, NULL, &node, error);
        weft_check_free(&s->own);
        if (status == WEFT_OK) status = weft_check_walk_count(walk, &node, error);
    }
    return status;
}

static bool is_examined(const weft_check_walk *walk, const weft_node *node) {
    return walk->fused ? weft_check_is_fused(node->op) : node->op != WEFT_OP_NONE;
}

weft_status weft_check_walk_nodes(weft_check_walk *walk, weft_error *error) {
    const weft_check_track *first = &walk->tracks[0];
    subject *s = weft_allocate(walk->script.runtime, sizeof *s);
    if (!s) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory to examine nodes");
    weft_status status = WEFT_OK;
    uint64_t n_own = 0, n_done = 0;
    for (size_t i = 0; i < first->index.n_nodes; i++) n_own += is_examined(walk, &first->index.nodes[i]);
    walk->drift = 0.0;
    walk->total = (uint64_t)walk->script.n_steps * n_own;
    for (size_t i = 0; i < first->index.n_nodes && status == WEFT_OK; i++) {
        walk->done = (uint64_t)walk->step * n_own + n_done;
        if (!is_examined(walk, &first->index.nodes[i])) continue;
        n_done++;
        *s = (subject){.walk = walk, .index = i};
        status = examine(s, error);
    }
    for (size_t device = 1; device < walk->n_tracks && status == WEFT_OK; device++) {
        *s = (subject){.walk = walk};
        status = examine_rest(walk, device, s, error);
    }
    weft_release(walk->script.runtime, s);
    return status;
}
