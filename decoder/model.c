/* Opening a model file and describing it. */
#include "decoder/model.h"

#include <stdio.h>
#include <string.h>

static char *copy_text(weft_runtime *runtime, const char *bytes, size_t size) {
    char *copy = weft_allocate(runtime, size + 1);
    if (copy) memcpy(copy, bytes, size);
    return copy;
}

static weft_status read_names(weft_model *model, const char *path, weft_text *architecture, weft_error *error) {
    weft_text name = {"", 0};
    weft_status status = weft_gguf_text(model->gguf, "general.name", &name, error);
    if (status != WEFT_OK && status != WEFT_NOT_FOUND) return status;
    status = weft_gguf_text(model->gguf, "general.architecture", architecture, error);
    if (status != WEFT_OK)
        return status == WEFT_NOT_FOUND ? weft_fail(error, WEFT_BAD_FILE, "%s: there is no general.architecture", path) : status;
    model->path = copy_text(model->runtime, path, strlen(path));
    model->name = copy_text(model->runtime, name.bytes, name.size);
    if (!model->path || !model->name) return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory to open it", path);
    return WEFT_OK;
}

static weft_status read_weights(weft_model *model, weft_text architecture, weft_error *error) {
    if (!model->family) {
        char names[256];
        weft_family_names(names, sizeof names);
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: weft does not know the model family \"%.*s\"; it knows %s", model->path,
                         architecture.size < 40 ? (int)architecture.size : 40, architecture.bytes, names);
    }
    size_t n_tensors = weft_gguf_tensor_count(model->gguf);
    model->expected = weft_allocate(model->runtime, n_tensors * sizeof *model->expected);
    if (!model->expected) return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory to open it", model->path);
    for (size_t i = n_tensors; i-- > 0;)
        if (!weft_gguf_tensor_readable(weft_gguf_tensor_at(model->gguf, i)))
            model->unreadable = weft_gguf_tensor_at(model->gguf, i);
    weft_status status = weft_hyperparameters_read(model, error);
    if (status == WEFT_OK) status = weft_model_expect_parts(model, error);
    if (status == WEFT_OK) status = weft_model_check_expected(model, error);
    weft_release(model->runtime, model->expected);
    model->expected = NULL;
    return status;
}

/* A file whose template cannot be read is opened: its reason is told to those who want to chat. */
static weft_status read_chat(weft_model *model, weft_error *error) {
    weft_text source;
    weft_error *why = &model->chat_error;
    weft_status status = weft_gguf_text(model->gguf, "tokenizer.chat_template", &source, error);
    if (status == WEFT_NOT_FOUND) weft_fail(why, status, "the file has no chat template");
    if (status != WEFT_OK) return status == WEFT_NOT_FOUND ? WEFT_OK : status;
    status = weft_chat_create(model->runtime, source, "file", model->tokenizer, &model->chat, why);
    return status == WEFT_OUT_OF_MEMORY ? weft_fail(error, status, "%s: %s", model->path, why->message) : WEFT_OK;
}

static weft_status read_model(weft_model *model, const char *path, const weft_family *family, weft_error *error) {
    weft_text architecture = {"", 0};
    weft_status status = weft_gguf_open(model->runtime, path, &model->gguf, error);
    if (status == WEFT_OK) status = read_names(model, path, &architecture, error);
    if (status == WEFT_OK) status = weft_tokenizer_create(model->runtime, model->gguf, &model->tokenizer, error);
    if (status != WEFT_OK) return status;
    status = read_chat(model, error);
    if (status != WEFT_OK) return status;
    model->family = family ? family : weft_family_find(architecture);
    model->has_weights = weft_gguf_tensor_count(model->gguf) > 0;
    return model->has_weights ? read_weights(model, architecture, error) : WEFT_OK;
}

weft_status weft_model_open(weft_runtime *runtime, const char *path, weft_model **model, weft_error *error) {
    return weft_model_open_as(runtime, path, NULL, model, error);
}

weft_status weft_model_open_as(weft_runtime *runtime, const char *path, const weft_family *family, weft_model **model,
                               weft_error *error) {
    if (!runtime || !path || !model)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weft_model_open: runtime, path or model is missing");
    weft_model *opened = weft_allocate(runtime, sizeof *opened);
    if (!opened) return weft_fail(error, WEFT_OUT_OF_MEMORY, "%s: no memory to open it", path);
    opened->runtime = runtime;
    weft_status status = read_model(opened, path, family, error);
    if (status != WEFT_OK) {
        weft_model_close(opened);
        return status;
    }
    *model = opened;
    return WEFT_OK;
}

void weft_model_close(weft_model *model) {
    if (!model) return;
    weft_runtime *runtime = model->runtime;
    weft_chat_destroy(model->chat);
    weft_trie_destroy(model->trie);
    weft_tokenizer_destroy(model->tokenizer);
    weft_gguf_close(model->gguf);
    weft_release(runtime, model->freq_factors);
    weft_release(runtime, model->long_factors);
    weft_release(runtime, model->name);
    weft_release(runtime, model->path);
    weft_release(runtime, model);
}

weft_runtime *weft_model_runtime(const weft_model *model) {
    return model ? model->runtime : NULL;
}

void weft_model_describe(const weft_model *model, weft_model_info *info) {
    if (!info) return;
    *info = (weft_model_info){.bos = WEFT_NO_TOKEN, .eos = WEFT_NO_TOKEN};
    if (!model) return;
    const weft_hyperparameters *hyper = &model->hyper;
    *info = (weft_model_info){
        .path = model->path,
        .family = model->family ? model->family->name : "",
        .name = model->name,
        .n_layers = hyper->n_layers,
        .n_embd = hyper->n_embd,
        .n_heads = hyper->n_heads,
        .n_kv_heads = hyper->n_kv_heads,
        .head_dim = hyper->head_dim,
        .n_ff = hyper->n_ff,
        .n_vocab = weft_tokenizer_size(model->tokenizer),
        .n_ctx_train = hyper->n_ctx_train,
        .has_weights = model->has_weights,
        .tokenizer = weft_tokenizer_name(model->tokenizer),
        .chat_format = model->chat ? model->chat->name : NULL,
        .chat_reason = model->chat_error.message,
        .bos = weft_tokenizer_bos(model->tokenizer),
        .eos = weft_tokenizer_eos(model->tokenizer),
        .n_experts = hyper->n_experts,
        .n_experts_used = hyper->n_experts_used,
    };
    for (size_t i = 0; i < weft_gguf_tensor_count(model->gguf); i++) {
        const weft_model_tensor *tensor = weft_gguf_tensor_at(model->gguf, i);
        const int64_t *shape = tensor->tensor.shape;
        const uint64_t n_elements = (uint64_t)(shape[0] * shape[1] * shape[2] * shape[3]);
        const bool is_of_experts = hyper->n_experts > 0 && shape[2] == hyper->n_experts;
        info->n_parameters += n_elements;
        info->n_active_parameters +=
            is_of_experts ? n_elements / (uint64_t)hyper->n_experts * (uint64_t)hyper->n_experts_used : n_elements;
        info->weight_bytes += tensor->bytes;
    }
}

/* The file's own templates of other names, such as "tool_use", come before weft's. */
static weft_status find_template(const weft_model *model, const char *name, weft_text *source, weft_error *error) {
    char key[96];
    int n = snprintf(key, sizeof key, "tokenizer.chat_template.%s", name);
    weft_status status = WEFT_NOT_FOUND;
    if (n > 0 && (size_t)n < sizeof key) status = weft_gguf_text(model->gguf, key, source, error);
    if (status != WEFT_NOT_FOUND) return status;
    *source = weft_chat_named(name);
    return source->size ? WEFT_OK : weft_fail(error, WEFT_NOT_FOUND, "there is no chat template \"%.64s\"", name);
}

weft_status weft_model_use_template(weft_model *model, const char *name, const char *text, weft_error *error) {
    if (!model || !name == !text)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "weft_model_use_template: the model is missing, or not one of name and text");
    weft_text source = {text, text ? strlen(text) : 0};
    weft_chat *chat = NULL;
    weft_status status = name ? find_template(model, name, &source, error) : WEFT_OK;
    if (status == WEFT_OK) status = weft_chat_create(model->runtime, source, name ? name : "given", model->tokenizer, &chat, error);
    if (status != WEFT_OK) return status;
    weft_chat_destroy(model->chat);
    model->chat = chat;
    model->chat_error = (weft_error){.message = ""};
    return WEFT_OK;
}

bool weft_model_tensor_at(const weft_model *model, size_t index, weft_model_tensor *tensor) {
    if (!model || !tensor || index >= weft_gguf_tensor_count(model->gguf)) return false;
    *tensor = *weft_gguf_tensor_at(model->gguf, index);
    return true;
}
