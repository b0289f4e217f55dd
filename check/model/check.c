/* Checking a model: the steps, one after the other, on every device. */
#include "check/model/walk.h"

static weft_status run_steps(weft_check_walk *walk, weft_error *error) {
    weft_check_script *script = &walk->script;
    weft_status status = WEFT_OK;
    for (int32_t i = 0; i < script->n_steps && status == WEFT_OK; i++) {
        const weft_check_step *step = &script->steps[i];
        walk->step = i;
        for (size_t device = 0; device < walk->n_tracks && status == WEFT_OK; device++)
            status = weft_check_track_run(&walk->tracks[device], script, step, weft_check_walk_goes_on, walk, error);
        if (status == WEFT_OK) status = weft_check_walk_nodes(walk, error);
        if (status == WEFT_OK && step->n_heads > 0 && step->first + step->n_tokens < script->n_positions)
            script->tokens[step->first + step->n_tokens] = walk->tracks[0].results[0][0];
    }
    return status;
}

static weft_status check(weft_check_walk *walk, weft_device *const *devices, weft_error *error) {
    walk->tracks = weft_allocate(walk->script.runtime, walk->n_tracks * sizeof *walk->tracks);
    if (!walk->tracks) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for %zu devices", walk->n_tracks);
    size_t n_made = 0;
    weft_status status = WEFT_OK;
    while (n_made < walk->n_tracks && status == WEFT_OK) {
        status = weft_check_track_create(&walk->script, devices[n_made], &walk->tracks[n_made], error);
        n_made++;
    }
    if (status == WEFT_OK) status = run_steps(walk, error);
    for (size_t i = 0; i < n_made; i++) weft_check_track_release(&walk->tracks[i]);
    weft_release(walk->script.runtime, walk->tracks);
    return status;
}

weft_status weft_check_model(weft_model *model, weft_device *const *devices, size_t n_devices,
                             const weft_check_model_options *options,
                             weft_status (*report)(void *user, const weft_check_node *node), void *user,
                             weft_check_model_summary *summary, weft_error *error) {
    const weft_check_model_options none = {.precision = WEFT_FAST};
    weft_check_model_summary counts = {0};
    if (!options) options = &none;
    if (!model || !devices || n_devices == 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "a model and a device are needed for a check");
    for (size_t i = 0; i < n_devices; i++)
        if (!devices[i] || weft_device_runtime(devices[i]) != weft_model_runtime(model))
            return weft_fail(error, WEFT_INVALID_ARGUMENT, "a check's devices are opened with the model's runtime");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    weft_check_walk walk = {.fused = options->fused,
                            .n_tracks = options->fused ? 1 : n_devices,
                            .report = report,
                            .user = user,
                            .progress = options->progress,
                            .progress_user = options->progress_user,
                            .summary = &counts};
    status = weft_check_script_create(model, weft_model_runtime(model), options, &walk.script, error);
    if (status != WEFT_OK) return status;
    status = check(&walk, devices, error);
    weft_check_script_release(&walk.script);
    if (status == WEFT_OK && summary) *summary = counts;
    return status;
}
