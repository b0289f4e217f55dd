/* JSON output, over cJSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "command.h"

/* cJSON escapes the controls below 32; the others, which a terminal obeys too, get escapes here. */
static void put_text(const char *text) {
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        bool wide = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0;
        if (wide || at[0] == 0x7f)
            printf("\\u%04x", (unsigned)at[wide]);
        else
            putchar(at[0]);
        if (wide) at++;
    }
    putchar('\n');
}

bool json_print(cJSON *json, bool complete) {
    char *text = complete ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    if (!text) {
        fputs("weft: out of memory for the JSON output\n", stderr);
        return false;
    }
    put_text(text);
    cJSON_free(text);
    return true;
}

bool json_print_text(const char *name, const char *text) {
    cJSON *json = cJSON_CreateObject();
    return json_print(json, json && json_add_text(json, name, text, strlen(text)));
}

bool json_add_text(cJSON *object, const char *name, const char *text, size_t size) {
    if (size > (SIZE_MAX - 1) / 3) return false;
    char *clean = malloc(3 * size + 1);
    if (!clean) return false;
    size_t n = 0;
    for (size_t i = 0; i < size;) {
        size_t length = utf8_length(text + i, size - i);
        memcpy(clean + n, length ? text + i : "\xef\xbf\xbd", length ? length : 3);
        n += length ? length : 3;
        i += length ? length : 1;
    }
    clean[n] = 0;
    bool added = cJSON_AddStringToObject(object, name, clean) != NULL;
    free(clean);
    return added;
}

bool json_add_tokens(cJSON *object, const char *name, const weft_token *tokens, size_t n_tokens) {
    cJSON *array = cJSON_AddArrayToObject(object, name);
    bool complete = array != NULL;
    for (size_t i = 0; complete && i < n_tokens; i++) {
        cJSON *number = cJSON_CreateNumber(tokens[i]);
        complete = number && cJSON_AddItemToArray(array, number);
    }
    return complete;
}

/* JSON cannot write the logarithm of a probability of 0. */
static double finite_logprob(float logprob) {
    return isfinite(logprob) ? (double)logprob : -1e30;
}

static bool add_logprob(cJSON *array, weft_logprob logprob) {
    cJSON *entry = cJSON_CreateObject();
    if (!entry || !cJSON_AddItemToArray(array, entry)) {
        cJSON_Delete(entry);
        return false;
    }
    return cJSON_AddNumberToObject(entry, "id", logprob.id) &&
           cJSON_AddNumberToObject(entry, "logprob", finite_logprob(logprob.logprob));
}

cJSON *json_logprobs(weft_logprob own, const weft_logprob *top, size_t n_top) {
    cJSON *array = cJSON_CreateArray();
    if (!array) return NULL;
    bool listed = false;
    for (size_t i = 0; i < n_top; i++) listed = listed || top[i].id == own.id;
    bool complete = listed || add_logprob(array, own);
    for (size_t i = 0; complete && i < n_top; i++) complete = add_logprob(array, top[i]);
    if (complete) return array;
    cJSON_Delete(array);
    return NULL;
}
