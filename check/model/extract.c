/* One node of a model's steps: its values, and a file that runs it alone. */
#include <string.h>

#include "check/build.h"
#include "check/model/bytes.h"
#include "check/op.h"

#define MAGIC "weftnode"
#define VERSION 1
#define WHAT "reproduction"

/* ---- Running up to a node ---- */

typedef struct extraction {
    weft_check_script script;
    weft_check_track track;
    const char *node;
    bool (*progress)(void *user, uint64_t done, uint64_t total);
    void *progress_user;
    uint64_t done;
} extraction;

static bool go_on(void *user) {
    const extraction *x = user;
    return !x->progress || x->progress(x->progress_user, x->done, (uint64_t)x->script.n_steps);
}

static weft_status run_steps(extraction *x, int32_t last, weft_error *error) {
    weft_check_script *script = &x->script;
    weft_status status = WEFT_OK;
    for (int32_t i = 0; i <= last && status == WEFT_OK; i++) {
        const weft_check_step *step = &script->steps[i];
        status = weft_check_track_run(&x->track, script, step, go_on, x, error);
        if (status == WEFT_OK && step->n_heads > 0 && step->first + step->n_tokens < script->n_positions)
            script->tokens[step->first + step->n_tokens] = x->track.results[0][0];
        x->done++;
        if (status == WEFT_OK && !go_on(x)) status = weft_fail(error, WEFT_CANCELLED, "the steps were ended");
    }
    return status;
}

static weft_status find_node(const extraction *x, size_t *index, weft_error *error) {
    const weft_check_index *nodes = &x->track.index;
    for (*index = 0; *index < nodes->n_nodes; ++*index)
        if (nodes->nodes[*index].op != WEFT_OP_NONE && strcmp(nodes->nodes[*index].name, x->node) == 0) return WEFT_OK;
    return weft_fail(error, WEFT_NOT_FOUND, "the device's graph has no node %s; `weft graph` lists its nodes", x->node);
}

/* Runs the steps and calls `then` with the node's index. */
static weft_status extract(extraction *x, weft_device *device, const weft_check_model_options *options, int32_t step,
                           weft_status (*then)(extraction *x, size_t index, void *user, weft_error *error), void *user,
                           weft_error *error) {
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    x->progress = options->progress;
    x->progress_user = options->progress_user;
    status = weft_check_script_create(x->script.model, x->script.runtime, options, &x->script, error);
    if (status != WEFT_OK) return status;
    size_t index = 0;
    if (step < 0 || step >= x->script.n_steps)
        status =
            weft_fail(error, WEFT_NOT_FOUND, "there is no step %d; the steps are 0 to %d", (int)step, (int)x->script.n_steps - 1);
    if (status == WEFT_OK) status = weft_check_track_create(&x->script, device, &x->track, error);
    if (status == WEFT_OK) status = run_steps(x, step, error);
    if (status == WEFT_OK) status = find_node(x, &index, error);
    if (status == WEFT_OK) status = then(x, index, user, error);
    if (x->track.runtime) weft_check_track_release(&x->track);
    weft_check_script_release(&x->script);
    return status;
}

static weft_status check_arguments(const weft_model *model, weft_device *device, const char *node, bool function,
                                   weft_error *error) {
    if (model && device && node && function && weft_device_runtime(device) == weft_model_runtime(model)) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "a model, a device of its runtime, a node's name and a function are needed");
}

/* ---- Values ---- */

typedef struct wanted_value {
    size_t output;
    weft_status (*take)(void *user, const weft_tensor *tensor, const void *values);
    void *user;
} wanted_value;

static weft_status read_state(const extraction *x, weft_value value, const weft_tensor *tensor, void *values, weft_error *error) {
    const char *name = weft_check_origin(&x->track.index, value)->name;
    size_t bytes = (size_t)weft_tensor_bytes(tensor);
    int64_t n = tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
    if (tensor->type == WEFT_I32) return weft_store_read_state(x->track.store, name, 0, values, bytes, error);
    void *stored = weft_allocate(x->track.runtime, bytes);
    if (!stored) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the state %s", name);
    weft_status status = weft_store_read_state(x->track.store, name, 0, stored, bytes, error);
    if (status == WEFT_OK) status = weft_dequantise(tensor->type, stored, n, values, error);
    weft_release(x->track.runtime, stored);
    return status;
}

static weft_status take_value(extraction *x, size_t index, void *user, weft_error *error) {
    const wanted_value *wanted = user;
    const weft_node *node = &x->track.index.nodes[index];
    weft_tensor tensor;
    weft_value value = wanted->output < WEFT_MAX_OUTPUTS ? node->outputs[wanted->output] : WEFT_NONE;
    if (value == WEFT_NONE) return weft_fail(error, WEFT_NOT_FOUND, "%s has no output %zu", node->name, wanted->output);
    weft_status status = weft_graph_tensor(x->track.graph, value, &tensor, error);
    if (status != WEFT_OK) return status;
    size_t bytes = (size_t)(tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3]) * 4;
    void *values = weft_allocate(x->track.runtime, bytes);
    if (!values) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the values of %s", node->name);
    if (weft_check_state_port(node->op, wanted->output) >= 0)
        status = read_state(x, value, &tensor, values, error);
    else
        status = weft_plan_read(x->track.plan, value, values, bytes, error);
    if (tensor.type != WEFT_I32) tensor.type = WEFT_F32;
    if (status == WEFT_OK) {
        status = wanted->take(wanted->user, &tensor, values);
        if (status != WEFT_OK) weft_fail(error, status, "the values of %s were not taken", node->name);
    }
    weft_release(x->track.runtime, values);
    return status;
}

weft_status weft_check_value(weft_model *model, weft_device *device, const weft_check_model_options *options, int32_t step,
                             const char *node, size_t output,
                             weft_status (*take)(void *user, const weft_tensor *tensor, const void *values), void *user,
                             weft_error *error) {
    const weft_check_model_options none = {.precision = WEFT_FAST};
    weft_status status = check_arguments(model, device, node, take != NULL, error);
    if (status != WEFT_OK) return status;
    extraction x = {.script = {.runtime = weft_model_runtime(model), .model = model}, .node = node};
    wanted_value wanted = {output, take, user};
    return extract(&x, device, options ? options : &none, step, take_value, &wanted, error);
}

/* ---- Writing a reproduction ---- */

static void put_case(weft_check_bytes *bytes, const weft_check_case *c) {
    uint32_t n_inputs = 0;
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) n_inputs += c->inputs[i].leaf != WEFT_LEAF_NOT ? 1 : 0;
    weft_check_file_begin(bytes, MAGIC, VERSION);
    weft_check_put_text(bytes, weft_version_text());
    weft_check_put_text(bytes, c->name);
    weft_check_put(bytes, (uint64_t)c->op, 4);
    weft_check_put(bytes, (uint64_t)c->precision, 4);
    weft_check_put(bytes, c->params_size / 4, 4);
    for (size_t i = 0; i < c->params_size / 4; i++) weft_check_put(bytes, (uint32_t)c->params[i], 4);
    weft_check_put(bytes, n_inputs, 4);
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_check_input *input = &c->inputs[i];
        if (input->leaf == WEFT_LEAF_NOT) continue;
        weft_check_put(bytes, i, 1);
        weft_check_put(bytes, (uint64_t)input->leaf, 1);
        weft_check_put(bytes, (uint64_t)input->tensor.type, 4);
        for (size_t j = 0; j < WEFT_MAX_DIMENSIONS; j++) weft_check_put(bytes, (uint64_t)input->tensor.shape[j], 8);
        weft_check_put_bytes(bytes, input->data, (size_t)weft_tensor_bytes(&input->tensor));
    }
    weft_check_file_seal(bytes);
}

typedef struct output {
    weft_status (*write)(void *user, const void *data, size_t size);
    void *user;
} output;

static weft_status write_case(extraction *x, size_t index, void *user, weft_error *error) {
    const output *out = user;
    weft_check_case c;
    weft_check_bytes bytes = {.runtime = x->script.runtime};
    weft_status status = weft_check_node_case(&x->track, x->script.model, x->script.engine.precision, index, NULL, &c, error);
    if (status == WEFT_OK) put_case(&bytes, &c);
    if (status == WEFT_OK && bytes.failed)
        status = weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for a reproduction of %s", x->node);
    if (status == WEFT_OK) {
        status = out->write(out->user, bytes.data, bytes.size);
        if (status != WEFT_OK) weft_fail(error, status, "the reproduction of %s could not be written", x->node);
    }
    weft_release(x->script.runtime, bytes.data);
    weft_check_free(&c);
    return status;
}

weft_status weft_check_extract(weft_model *model, weft_device *device, const weft_check_model_options *options, int32_t step,
                               const char *node, weft_status (*write)(void *user, const void *data, size_t size), void *user,
                               weft_error *error) {
    const weft_check_model_options none = {.precision = WEFT_FAST};
    weft_status status = check_arguments(model, device, node, write != NULL, error);
    if (status != WEFT_OK) return status;
    extraction x = {.script = {.runtime = weft_model_runtime(model), .model = model}, .node = node};
    output out = {write, user};
    return extract(&x, device, options ? options : &none, step, write_case, &out, error);
}

/* ---- Running a reproduction ---- */

bool weft_check_is_reproduction(const void *data, size_t size) {
    return data && size >= 8 && memcmp(data, MAGIC, 8) == 0;
}

static weft_status damaged(weft_error *error) {
    return weft_fail(error, WEFT_BAD_FILE, "the reproduction is damaged: write it again");
}

static weft_status read_input(weft_check_bytes *bytes, weft_check_case *c, weft_error *error) {
    size_t port = (size_t)weft_check_get(bytes, 1);
    weft_leaf leaf = (weft_leaf)weft_check_get(bytes, 1);
    weft_tensor tensor = {.type = (weft_type)weft_check_get(bytes, 4)};
    for (size_t i = 0; i < WEFT_MAX_DIMENSIONS; i++) tensor.shape[i] = (int64_t)weft_check_get(bytes, 8);
    uint64_t size = weft_tensor_bytes(&tensor);
    if (bytes->failed || port >= WEFT_MAX_INPUTS || weft_check_has(c, port) || leaf < WEFT_LEAF_WEIGHT || leaf > WEFT_LEAF_STATE ||
        size == 0 || size > bytes->size - bytes->at)
        return damaged(error);
    weft_check_input *input = weft_check_declare(c, port, leaf, &tensor);
    if (!weft_check_ready(c)) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the inputs of %s", c->name);
    memcpy(input->data, bytes->data + bytes->at, (size_t)size);
    bytes->at += (size_t)size;
    return WEFT_OK;
}

static weft_status read_case(weft_check_bytes *bytes, weft_check_case *c, weft_error *error) {
    char version[WEFT_NAME_SIZE];
    weft_status status = weft_check_file_open(bytes, MAGIC, VERSION, WHAT, error);
    if (status != WEFT_OK) return status;
    weft_check_get_text(bytes, version, sizeof version);
    weft_check_get_text(bytes, c->name, sizeof c->name);
    c->op = (weft_op)weft_check_get(bytes, 4);
    c->precision = (weft_precision)weft_check_get(bytes, 4);
    size_t n_params = (size_t)weft_check_get(bytes, 4);
    bool known = weft_op_name(c->op) && c->op != WEFT_OP_NONE && c->precision <= WEFT_EXACT;
    if (bytes->failed || !known || n_params > sizeof c->params / sizeof c->params[0]) return damaged(error);
    for (size_t i = 0; i < n_params; i++) c->params[i] = weft_check_get_number(bytes);
    c->params_size = n_params * sizeof c->params[0];
    size_t n_inputs = (size_t)weft_check_get(bytes, 4);
    if (n_inputs > weft_op_input_count(c->op)) return damaged(error);
    for (size_t i = 0; i < n_inputs && status == WEFT_OK; i++) status = read_input(bytes, c, error);
    return status;
}

/* Adds the node to a graph, which checks it, to learn the shapes of its outputs. */
static weft_status declare_outputs(weft_check_case *c, weft_error *error) {
    const weft_check_build_options options = {.n_nodes = 1};
    weft_graph *graph = NULL;
    weft_node node = {.op = WEFT_OP_NONE};
    weft_status status = weft_check_build(c, &options, &graph, error);
    size_t n_nodes = status == WEFT_OK ? weft_graph_node_count(graph) : 0;
    if (status == WEFT_OK) status = weft_graph_node(graph, n_nodes - 1, &node, error);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS && status == WEFT_OK; i++) {
        weft_tensor tensor;
        int32_t state = weft_check_state_port(c->op, i);
        if (i >= weft_op_output_count(c->op) || node.outputs[i] == WEFT_NONE) continue;
        status = weft_graph_tensor(graph, node.outputs[i], &tensor, error);
        if (status != WEFT_OK) break;
        if (state >= 0)
            weft_check_state_output(c, i, (size_t)state);
        else
            weft_check_declare_output(c, i, &tensor);
    }
    weft_graph_destroy(graph);
    if (status == WEFT_OK && !weft_check_ready(c)) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for the outputs");
    return status;
}

static weft_status run_case(weft_check_case *c, weft_device *device, weft_check_result *result, weft_error *message,
                            weft_error *error) {
    bool unstable = false;
    c->type = weft_check_weight_type(c);
    weft_check_oracle(c);
    if (!weft_check_ready(c)) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory to compute %s", c->name);
    *result = (weft_check_result){.op = c->op, .name = c->name, .kernel = ""};
    weft_status status = weft_check_execute(c, device, false, &unstable, message);
    if (weft_check_is_fatal(status)) return weft_fail(error, status, "%s", message->message);
    if (c->kernel) result->kernel = c->kernel;
    if (status == WEFT_UNSUPPORTED) {
        result->skipped = message->message;
        return WEFT_OK;
    }
    result->failure = status == WEFT_OK ? weft_check_judge(c, result) : message->message;
    if (!result->failure && unstable) result->failure = "the same inputs gave different bits";
    result->passed = !result->failure;
    return WEFT_OK;
}

weft_status weft_check_reproduce(weft_device *device, const void *reproduction, size_t size,
                                 weft_status (*report)(void *user, const weft_check_result *result), void *user,
                                 weft_error *error) {
    if (!device || !reproduction) return weft_fail(error, WEFT_INVALID_ARGUMENT, "a device and a reproduction are needed");
    weft_check_case c = {.runtime = weft_device_runtime(device)};
    weft_check_bytes bytes = {.size = size};
    weft_check_result result;
    weft_error message = {0};
    memcpy(&bytes.data, &reproduction, sizeof bytes.data); /* which is only read */
    weft_status status = read_case(&bytes, &c, error);
    if (status == WEFT_OK) status = declare_outputs(&c, error);
    if (status == WEFT_OK) status = run_case(&c, device, &result, &message, error);
    if (status == WEFT_OK && report) status = report(user, &result);
    weft_check_free(&c);
    return status;
}
