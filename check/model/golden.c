/* Records a golden, and compares devices with one. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check/model/golden.h"
#include "check/model/walk.h"

/* An estimate of a mean square from n values has a standard deviation of sqrt(2 / n) of it: 6 of these above the limit. */
#define SAMPLE_FACTOR (1.0 + 6.0 * sqrt(2.0 / WEFT_CHECK_N_SAMPLES))

/* Bytes of each tensor that tell one model from another. */
#define MODEL_BYTES 256

typedef struct golden_run {
    weft_check_walk walk; /* of its members those for tracks, reports and counts */
    weft_check_golden golden;
    weft_check_bytes bytes;
    float *scratch; /* a result */
    size_t scratch_bytes;
    weft_check_replay_summary summary;
} golden_run;

/* ---- What is recorded of a result ---- */

static weft_status model_sum(weft_model *model, uint64_t *sum, weft_error *error) {
    weft_weight_source source = weft_model_source(model);
    weft_model_tensor tensor;
    unsigned char bytes[MODEL_BYTES];
    *sum = 0;
    for (size_t i = 0; weft_model_tensor_at(model, i, &tensor); i++) {
        size_t size = tensor.bytes < sizeof bytes ? (size_t)tensor.bytes : sizeof bytes;
        weft_status status = source.read(source.user, tensor.name, 0, bytes, size, error);
        if (status != WEFT_OK) return status;
        *sum = weft_check_hash(*sum ^ weft_check_sum(tensor.name, strlen(tensor.name)));
        *sum = weft_check_hash(*sum ^ (uint64_t)tensor.tensor.type);
        for (int j = 0; j < WEFT_MAX_DIMENSIONS; j++) *sum = weft_check_hash(*sum ^ (uint64_t)tensor.tensor.shape[j]);
        *sum = weft_check_hash(*sum ^ weft_check_sum(bytes, size));
    }
    return WEFT_OK;
}

static void measure(const float *values, uint64_t n, weft_check_golden_result *result) {
    double power = 0.0;
    for (uint64_t i = 0; i < n; i++) power += (double)values[i] * (double)values[i];
    result->n_elements = n;
    result->rms = sqrt(power / (double)n);
    result->n_samples = n < WEFT_CHECK_N_SAMPLES ? (uint32_t)n : WEFT_CHECK_N_SAMPLES;
    for (uint32_t i = 0; i < result->n_samples; i++) result->samples[i] = values[weft_check_hash(i) % n];
    /* The sum is of the bits as numbers, so that it does not depend on the machine's byte order. */
    result->sum = n;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        result->sum = (result->sum ^ bits) * UINT64_C(0x100000001b3);
    }
}

/* Reads output `port` of a node. States and integers have no result: n_elements stays 0. */
static weft_status take_result(golden_run *run, const weft_check_track *track, const weft_node *node, size_t port,
                               weft_check_golden_result *result, weft_error *error) {
    weft_tensor tensor;
    *result = (weft_check_golden_result){.op = (uint32_t)node->op, .port = (uint32_t)port};
    snprintf(result->name, sizeof result->name, "%s", node->name);
    if (node->outputs[port] == WEFT_NONE || weft_check_state_port(node->op, port) >= 0) return WEFT_OK;
    weft_status status = weft_graph_tensor(track->graph, node->outputs[port], &tensor, error);
    if (status != WEFT_OK || tensor.type != WEFT_F32) return status;
    size_t size = (size_t)weft_tensor_bytes(&tensor);
    if (size > run->scratch_bytes) {
        weft_release(track->runtime, run->scratch);
        run->scratch = weft_allocate(track->runtime, size);
        run->scratch_bytes = run->scratch ? size : 0;
    }
    if (!run->scratch) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the result of %s", node->name);
    status = weft_plan_read(track->plan, node->outputs[port], run->scratch, size, error);
    int64_t n_rows = weft_check_real_rows(&track->step, tensor.shape[1] * tensor.shape[2] * tensor.shape[3]);
    if (status == WEFT_OK) measure(run->scratch, (uint64_t)(n_rows * tensor.shape[0]), result);
    return status;
}

/* ---- Recording ---- */

static weft_status record_step(golden_run *run, weft_error *error) {
    const weft_check_track *track = &run->walk.tracks[0];
    weft_check_golden_step step = {0};
    weft_check_golden_result result;
    size_t n_words = track->result_bytes[0] / 4, n_top = track->result_bytes[1] / 4, at = run->bytes.size;
    for (size_t i = 0; i < n_words; i++) step.words[step.n_words++] = track->results[0][i];
    for (size_t i = 0; i < n_top && step.n_words < WEFT_CHECK_N_CHOICE_WORDS; i++)
        step.words[step.n_words++] = track->results[1][i];
    weft_check_golden_write_step(&run->bytes, &step);
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < track->index.n_nodes && status == WEFT_OK; i++) {
        for (size_t j = 0; j < WEFT_MAX_OUTPUTS && track->index.nodes[i].op != WEFT_OP_NONE && status == WEFT_OK; j++) {
            status = take_result(run, track, &track->index.nodes[i], j, &result, error);
            if (status != WEFT_OK || result.n_elements == 0) continue;
            weft_check_golden_write_result(&run->bytes, &result);
            step.n_results++;
        }
    }
    if (run->bytes.failed || status != WEFT_OK) return status;
    size_t end = run->bytes.size;
    run->bytes.size = at; /* now that the number of results is known */
    weft_check_golden_write_step(&run->bytes, &step);
    run->bytes.size = end;
    return WEFT_OK;
}

/* ---- Comparing ---- */

static void compare(const weft_check_golden_result *golden, const weft_check_golden_result *own, double limit,
                    weft_check_measure *measure) {
    double power = 0.0, size = golden->rms > 0.0 ? golden->rms : 1e-37;
    *measure = (weft_check_measure){.present = true, .nmse_limit = SAMPLE_FACTOR * limit};
    for (uint32_t i = 0; i < golden->n_samples; i++) {
        double off = fabs((double)own->samples[i] - (double)golden->samples[i]);
        if (isnan(own->samples[i]) && isnan(golden->samples[i])) off = 0.0;
        power += off * off;
        if (off / size <= measure->error) continue;
        measure->error = off / size;
        measure->worst_column = (int64_t)(weft_check_hash(i) % golden->n_elements);
        measure->worst_value = (double)own->samples[i];
        measure->worst_expected = (double)golden->samples[i];
    }
    measure->nmse = power / golden->n_samples / (size * size);
    if (!(measure->nmse <= measure->nmse_limit)) measure->failure = "the mean squared error is over its limit";
    double off = own->rms - golden->rms;
    if (!measure->failure && off * off > measure->nmse_limit * size * size) measure->failure = "the root mean square is off";
}

static weft_check_node start_node(const golden_run *run, const char *name, weft_op op, size_t index, size_t device) {
    const weft_check_walk *walk = &run->walk;
    return (weft_check_node){.step = walk->step,
                             .n_rows = walk->script.steps[walk->step].n_rows,
                             .index = index,
                             .device = device,
                             .name = name,
                             .layer = weft_check_layer_of(name),
                             .op = op,
                             .kernel = ""};
}

static weft_status replay_result(golden_run *run, const weft_check_golden_result *golden, size_t index, weft_error *error) {
    weft_check_walk *walk = &run->walk;
    weft_status status = WEFT_OK;
    for (size_t device = 0; device < walk->n_tracks && status == WEFT_OK; device++) {
        weft_check_track *track = &walk->tracks[device];
        weft_check_node node = start_node(run, golden->name, (weft_op)golden->op, index, device);
        weft_check_golden_result own = {0};
        int32_t place = weft_check_track_find(track, golden->name, (weft_op)golden->op);
        if (place >= 0) status = take_result(run, track, &track->index.nodes[place], golden->port, &own, error);
        if (status != WEFT_OK) return status;
        if (own.n_elements == golden->n_elements && own.n_samples == golden->n_samples && own.n_elements > 0) {
            compare(golden, &own, track->limits[place], &node.drift);
            track->drift = node.drift.nmse;
            run->summary.n_results++;
            run->summary.n_same_bits += own.sum == golden->sum ? 1 : 0;
            if (!isfinite(own.rms)) node.n_not_finite = 1;
        } else
            node.skipped = "this device's graph has no such result";
        status = weft_check_walk_count(walk, &node, error);
    }
    return status;
}

static float real_of(int32_t bits) {
    float real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

/* The log-probability of a token among chosen and most likely ones; NaN: it is not among them. */
static double logprob_of(const int32_t *words, uint32_t n_words, int32_t token) {
    for (uint32_t i = 0; i + 1 < n_words; i += 2)
        if (words[i] == token) return (double)real_of(words[i + 1]);
    return (double)NAN;
}

/* Compares what was chosen. Another token is a tie if its log-probability in the golden is as close as those of both devices may
 * be: the errors that reached the last result, as for the error end to end of a chosen token. */
static weft_status replay_choice(golden_run *run, const weft_check_golden_step *golden, double rms, size_t index,
                                 weft_error *error) {
    weft_check_walk *walk = &run->walk;
    weft_status status = WEFT_OK;
    for (size_t device = 0; device < walk->n_tracks && golden->n_words > 1 && status == WEFT_OK; device++) {
        const weft_check_track *track = &walk->tracks[device];
        weft_check_node node = start_node(run, "sample", WEFT_OP_SAMPLE, index, device);
        weft_check_measure *m = &node.drift;
        const int32_t *own = track->results[0];
        if (!own) return weft_fail(error, WEFT_BAD_FILE, "the golden has a token where its steps choose none: write it again");
        double expected = logprob_of(golden->words, golden->n_words, own[0]);
        *m = (weft_check_measure){.present = true, .worst_value = own[0], .worst_expected = golden->words[0]};
        m->error_limit = 6.0 * sqrt(4.0 * track->drift + track->limits[track->index.n_nodes - 1]) * rms + 1e-5;
        m->error = fabs((double)real_of(own[1]) - expected);
        if (own[0] != golden->words[0]) m->error = fmax(m->error, fabs((double)real_of(golden->words[1]) - expected));
        if (isnan(expected)) m->error = INFINITY;
        if (!(m->error <= m->error_limit))
            m->failure = own[0] == golden->words[0] ? "the log-probability of the token is off" : "another token, and no tie";
        status = weft_check_walk_count(walk, &node, error);
    }
    return status;
}

static weft_status replay_step(golden_run *run, weft_error *error) {
    weft_check_golden_step step;
    weft_check_golden_result result = {0};
    weft_status status = weft_check_golden_read_step(&run->bytes, &step, error);
    for (uint32_t i = 0; i < step.n_results && status == WEFT_OK; i++) {
        run->walk.done = (uint64_t)run->walk.step * step.n_results + i;
        run->walk.total = (uint64_t)run->walk.script.n_steps * step.n_results;
        status = weft_check_golden_read_result(&run->bytes, &result, error);
        if (status == WEFT_OK) status = replay_result(run, &result, i, error);
    }
    /* The last result is that of the logits. */
    return status == WEFT_OK ? replay_choice(run, &step, result.rms, step.n_results, error) : status;
}

/* ---- Steps ---- */

static weft_status run_steps(golden_run *run, bool replay, weft_error *error) {
    weft_check_walk *walk = &run->walk;
    weft_check_script *script = &walk->script;
    weft_status status = WEFT_OK;
    for (walk->step = 0; walk->step < script->n_steps && status == WEFT_OK; walk->step++) {
        const weft_check_step *step = &script->steps[walk->step];
        for (size_t i = 0; i < walk->n_tracks && status == WEFT_OK; i++)
            status = weft_check_track_run(&walk->tracks[i], script, step, weft_check_walk_goes_on, walk, error);
        if (status == WEFT_OK) status = replay ? replay_step(run, error) : record_step(run, error);
        if (replay || status != WEFT_OK) continue;
        walk->done = (uint64_t)walk->step + 1;
        walk->total = (uint64_t)script->n_steps;
        if (step->n_heads > 0 && step->first + step->n_tokens < script->n_positions)
            script->tokens[step->first + step->n_tokens] = walk->tracks[0].results[0][0];
        if (!weft_check_walk_goes_on(walk)) status = weft_fail(error, WEFT_CANCELLED, "the recording was ended");
    }
    return status;
}

static weft_status run_devices(golden_run *run, weft_device *const *devices, bool replay, weft_error *error) {
    weft_check_walk *walk = &run->walk;
    size_t n_made = 0;
    weft_status status = WEFT_OK;
    walk->script.engine.logits = true;
    walk->tracks = weft_allocate(walk->script.runtime, walk->n_tracks * sizeof *walk->tracks);
    if (!walk->tracks) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for %zu devices", walk->n_tracks);
    while (n_made < walk->n_tracks && status == WEFT_OK) {
        status = weft_check_track_create(&walk->script, devices[n_made], &walk->tracks[n_made], error);
        n_made++;
    }
    if (status == WEFT_OK) status = run_steps(run, replay, error);
    for (size_t i = 0; i < n_made; i++) weft_check_track_release(&walk->tracks[i]);
    weft_release(walk->script.runtime, walk->tracks);
    weft_release(walk->script.runtime, run->scratch);
    return status;
}

/* ---- Calls ---- */

static weft_status describe(golden_run *run, weft_device *device, weft_error *error) {
    weft_check_golden_info *info = &run->golden.info;
    const weft_check_script *script = &run->walk.script;
    weft_device_info of_device;
    weft_model_info of_model;
    weft_status status = weft_device_describe(device, &of_device, error);
    if (status == WEFT_OK) status = model_sum(script->model, &run->golden.model, error);
    if (status != WEFT_OK) return status;
    weft_model_describe(script->model, &of_model);
    snprintf(info->weft, sizeof info->weft, "%s", weft_version_text());
    snprintf(info->family, sizeof info->family, "%s", of_model.family);
    snprintf(info->device, sizeof info->device, "%s", of_device.id);
    snprintf(info->device_name, sizeof info->device_name, "%s", of_device.name);
    snprintf(info->driver, sizeof info->driver, "%s", of_device.driver);
    info->precision = script->engine.precision;
    info->n_prompt = script->n_prompt;
    info->n_positions = script->n_positions;
    info->n_steps = script->n_steps;
    run->golden.max_rows = script->engine.max_rows;
    run->golden.page_size = script->engine.page_size;
    return WEFT_OK;
}

static weft_status record(golden_run *run, weft_device *device, weft_error *error) {
    const weft_check_script *script = &run->walk.script;
    weft_status status = describe(run, device, error);
    if (status != WEFT_OK) return status;
    weft_check_golden_write(&run->bytes, &run->golden, script->tokens);
    status = run_devices(run, &device, false, error);
    if (status == WEFT_OK) weft_check_golden_finish(&run->bytes, &run->golden, script->tokens);
    if (status == WEFT_OK && run->bytes.failed) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for a golden");
    return status;
}

weft_status weft_check_record(weft_model *model, weft_device *device, const weft_check_model_options *options,
                              weft_status (*write)(void *user, const void *data, size_t size), void *user, weft_error *error) {
    const weft_check_model_options none = {.precision = WEFT_FAST};
    if (!options) options = &none;
    if (!model || !device || !write || weft_device_runtime(device) != weft_model_runtime(model))
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a model, a device of its runtime and a function that writes are needed");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    golden_run run = {.walk = {.n_tracks = 1, .progress = options->progress, .progress_user = options->progress_user},
                      .bytes = {.runtime = weft_model_runtime(model)}};
    status = weft_check_script_create(model, run.bytes.runtime, options, &run.walk.script, error);
    if (status != WEFT_OK) return status;
    status = record(&run, device, error);
    if (status == WEFT_OK) {
        status = write(user, run.bytes.data, run.bytes.size);
        if (status != WEFT_OK) weft_fail(error, status, "the golden could not be written");
    }
    weft_release(run.bytes.runtime, run.bytes.data);
    weft_check_script_release(&run.walk.script);
    return status;
}

static weft_status read_tokens(golden_run *run, weft_model *model, int32_t *tokens, weft_error *error) {
    weft_model_info info;
    weft_model_describe(model, &info);
    for (int32_t i = 0; i < run->golden.info.n_positions; i++) {
        tokens[i] = weft_check_golden_read_token(&run->bytes);
        if (tokens[i] < 0 || tokens[i] >= info.n_vocab)
            return weft_fail(error, WEFT_BAD_FILE, "the golden has a token that the model lacks: write it again");
    }
    return WEFT_OK;
}

static weft_status make_script(golden_run *run, weft_model *model, weft_error *error) {
    const weft_check_golden_info *info = &run->golden.info;
    const weft_check_model_options options = {.precision = info->precision,
                                              .n_decode = info->n_positions - info->n_prompt,
                                              .max_rows = run->golden.max_rows,
                                              .page_size = run->golden.page_size};
    int32_t *tokens = weft_allocate(run->bytes.runtime, (size_t)info->n_positions * sizeof *tokens);
    if (!tokens) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for %d tokens", (int)info->n_positions);
    weft_status status = read_tokens(run, model, tokens, error);
    if (status == WEFT_OK)
        status = weft_check_script_replay(model, run->bytes.runtime, &options, tokens, info->n_prompt, info->n_positions,
                                          &run->walk.script, error);
    weft_release(run->bytes.runtime, tokens);
    if (status == WEFT_OK && run->walk.script.n_steps != info->n_steps) {
        weft_check_script_release(&run->walk.script);
        return weft_fail(error, WEFT_BAD_FILE, "the golden has another number of steps than its tokens: write it again");
    }
    return status;
}

static weft_status replay(golden_run *run, weft_model *model, weft_device *const *devices, weft_error *error) {
    uint64_t sum;
    weft_status status = weft_check_golden_read(&run->bytes, &run->golden, error);
    if (status == WEFT_OK) status = model_sum(model, &sum, error);
    if (status != WEFT_OK) return status;
    if (sum != run->golden.model)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "the golden is of another model (family %s): these weights differ",
                         run->golden.info.family);
    status = make_script(run, model, error);
    if (status != WEFT_OK) return status;
    status = run_devices(run, devices, true, error);
    weft_check_script_release(&run->walk.script);
    return status;
}

weft_status weft_check_replay(weft_model *model, weft_device *const *devices, size_t n_devices, const void *golden, size_t size,
                              const weft_check_model_options *options,
                              weft_status (*report)(void *user, const weft_check_node *node), void *user,
                              weft_check_replay_summary *summary, weft_error *error) {
    const weft_check_model_options none = {.precision = WEFT_FAST};
    if (!options) options = &none;
    if (!model || !devices || n_devices == 0 || !golden)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a model, a device and a golden are needed");
    for (size_t i = 0; i < n_devices; i++)
        if (!devices[i] || weft_device_runtime(devices[i]) != weft_model_runtime(model))
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "a check's devices are opened with the model's runtime");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    golden_run run = {.walk = {.n_tracks = n_devices,
                               .report = report,
                               .user = user,
                               .progress = options->progress,
                               .progress_user = options->progress_user},
                      .bytes = {.runtime = weft_model_runtime(model), .size = size}};
    run.walk.summary = &run.summary.nodes;
    memcpy(&run.bytes.data, &golden, sizeof run.bytes.data); /* which is only read */
    status = replay(&run, model, devices, error);
    if (status == WEFT_OK && summary) *summary = run.summary;
    return status;
}
