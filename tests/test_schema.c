/* JSON Schemas: texts that fit and texts that do not, random texts against a validator that is written here, what is refused.
 *     test_schema [seed]
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#define PATH "test_schema.tmp"
#include "grammar_support.h"

static uint32_t seed = 20240607;
static grammar_world world;

static int open_world(void **state) {
    (void)state;
    print_message("seed %u\n", (unsigned)seed);
    open_grammar_world(&world, seed);
    return 0;
}

static int close_world(void **state) {
    (void)state;
    close_grammar_world(&world);
    return 0;
}

/* ---- Texts ---- */

static const struct {
    const char *schema;
    const char *fit[6], *unfit[8];
} texts[] = {
    {"{\"type\": \"integer\"}", {"0", "-0", "12", "1234567890123456"}, {"01", "+1", "1.5", "1e3", "12345678901234567", "\"1\""}},
    {"{\"type\": \"number\"}", {"0.5", "-12.25", "1e10", "3E-07"}, {".5", "1.", "1e100", "NaN"}},
    {"{\"type\": [\"boolean\", \"null\"]}", {"true", "false", "null"}, {"True", "0", "nul"}},
    {"{\"type\": \"string\"}",
     {"\"\"", "\"a\xC3\xA9\"", "\"\\n\\\"\\u00e9\"", "\"\\uD83D\\uDE00\""},
     {"\"", "\"\n\"", "\"\\x\"", "\"\\uD83D\"", "\"\\uDE00\"", "\"\xC3\"", "\"\\uD83Da\""}},
    {"{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 3}",
     {"\"ab\"", "\"\xC3\xA9\\n\\uD83D\\uDE00\""},
     {"\"a\"", "\"abcd\"", "\"\xC3\xA9\""}},
    {"{\"type\": \"string\", \"pattern\": \"^a(b|[0-3]){2}\\\\d?$|c.$\"}",
     {"\"abb\"", "\"a3b7\"", "\"xyc1\"", "\"c\\\"\""},
     {"\"ab\"", "\"a4b\"", "\"c\"", "\"abb12\"", "\"c\\n\""}},
    {"{\"type\": \"string\", \"format\": \"date\"}",
     {"\"2024-02-28\"", "\"1999-12-31\""},
     {"\"2024-02-30\"", "\"2024-13-01\"", "\"2024-1-1\""}},
    {"{\"enum\": [\"a\\\"\", 1.5, {\"k\": [true, null]}]}",
     {"\"a\\\"\"", "1.5", "{\"k\":[true,null]}"},
     {"\"a\"", "1", "{\"k\": [true,null]}"}},
    {"{\"enum\": [\"a\", 1, 2.5, 3], \"type\": [\"integer\", \"null\"]}", {"1", "3"}, {"\"a\"", "2.5", "null"}},
    {"{\"type\": \"integer\", \"minimum\": -5, \"maximum\": 120}", {"-5", "0", "99", "120"}, {"-6", "121", "200", "-0", "-10"}},
    {"{\"type\": \"integer\", \"exclusiveMinimum\": 9.5, \"exclusiveMaximum\": 1001}", {"10", "999", "1000"}, {"9", "1001", "-10"}},
    {"{\"type\": \"number\", \"minimum\": -1, \"exclusiveMaximum\": 2}",
     {"-1", "-0.5", "0", "1.999"},
     {"-1.5", "2", "2.0", "-2", "1e1"}},
    {"{\"type\": \"number\", \"exclusiveMinimum\": 0, \"maximum\": 10}", {"0.01", "10", "9.5"}, {"0", "0.0", "10.5", "11", "-1"}},
    {"{\"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": {\"type\": \"null\"}, \"c\": {\"const\": 1}}, \"required\": "
     "[\"b\"]}",
     {"{\"b\":null}", "{\"a\": 1, \"b\": null}", "{\n  \"a\": 1,\n  \"b\": null,\n  \"c\": 1\n}"},
     {"{}", "{\"a\":1}", "{\"b\":null,\"a\":1}", "{\"b\":null,}", "{\"b\":null,\"d\":1}", "{,\"b\":null}"}},
    {"{\"properties\": {\"a\": {\"type\": \"integer\"}}}", {"{}", "{ }", "{\"a\":1}"}, {"{\"a\":true}", "{  }", "{\"b\":1}"}},
    {"{\"properties\": {\"ab\": {\"const\": 1}, \"abc\": {\"const\": 2}}, \"additionalProperties\": {\"type\": \"boolean\"}}",
     {"{\"ab\":1,\"abc\":2}", "{\"a\":true}", "{\"ab\":1,\"abcd\":true,\"abx\":false}", "{\"\":true}"},
     {"{\"a\":1}", "{\"ab\":true}", "{\"a\":true,\"ab\":1}", "{\"x\":true,\"abc\":true}", "{\"\\u0061b\":true}"}},
    {"{\"type\": \"object\", \"additionalProperties\": {\"type\": \"integer\"}, \"minProperties\": 1, \"maxProperties\": 2}",
     {"{\"a\":1}", "{\"a\":1, \"\\n\":2}"},
     {"{}", "{\"a\":null}", "{\"a\":1,\"b\":2,\"c\":3}"}},
    {"{\"type\": \"array\", \"items\": {\"type\": \"integer\"}, \"minItems\": 1, \"maxItems\": 3}",
     {"[1]", "[1,2, 3]", "[ 1 ]"},
     {"[]", "[1,2,3,4]", "[1,]", "[null]"}},
    {"{\"prefixItems\": [{\"type\": \"integer\"}, {\"type\": \"null\"}], \"items\": {\"const\": \"x\"}}",
     {"[1,null]", "[1,null,\"x\",\"x\"]"},
     {"[1]", "[]", "[1,null,1]"}},
    {"{\"prefixItems\": [{\"type\": \"integer\"}]}", {"[1]"}, {"[1,2]", "[]"}},
    {"{\"$defs\": {\"a/b\": {\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/a~1b\"}}}, \"$ref\": \"#/$defs/a~1b\"}",
     {"[]", "[[],[[]]]"},
     {"[1]", "[[]"}},
    {"{\"allOf\": [{\"properties\": {\"a\": {\"minimum\": 3}}}, {\"properties\": {\"a\": {\"type\": \"integer\", \"maximum\": 5}}, "
     "\"required\": "
     "[\"a\"]}]}",
     {"{\"a\":3}", "{\"a\":5}"},
     {"{}", "{\"a\":2}", "{\"a\":6}"}},
    {"{\"type\": \"object\", \"properties\": {\"k\": true}, \"required\": [\"k\"], \"oneOf\": [{\"properties\": {\"k\": "
     "{\"const\": 1}}}, "
     "{\"properties\": {\"k\": {\"const\": 2}, \"m\": {\"const\": 3}}}]}",
     {"{\"k\":1}", "{\"k\":2,\"m\":3}"},
     {"{\"k\":1,\"m\":3}", "{\"k\":3}", "{}"}},
    {"{\"anyOf\": [{\"type\": \"null\"}, false]}", {"null"}, {"1"}},
    {"{\"$defs\": {\"a\": {\"anyOf\": [{\"$ref\": \"#/$defs/a\"}, {\"type\": \"null\"}]}}, \"$ref\": \"#/$defs/a\"}",
     {"null"},
     {"1", "{}"}},
    {"true", {"[1, {\"a\": \"b\"}]", "null"}, {"[1,", "x"}},
};

static bool fits(const weft_grammar *grammar, const char *text) {
    weft_matcher *matcher = NULL;
    bool fit = true;
    assert_int_equal(weft_matcher_create(grammar, &matcher, NULL), WEFT_OK);
    for (; *text && fit; text++) fit = weft_matcher_accept(matcher, (unsigned char)*text, NULL) == WEFT_OK;
    fit = fit && weft_matcher_may_end(matcher);
    weft_matcher_destroy(matcher);
    return fit;
}

static void test_texts(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        weft_grammar *grammar = make_grammar(&world, WEFT_GRAMMAR_JSON_SCHEMA, texts[i].schema);
        for (size_t n = 0; n < COUNT(texts[i].fit) && texts[i].fit[n]; n++)
            if (!fits(grammar, texts[i].fit[n])) fail_msg("%s\n%s does not fit", texts[i].schema, texts[i].fit[n]);
        for (size_t n = 0; n < COUNT(texts[i].unfit) && texts[i].unfit[n]; n++)
            if (fits(grammar, texts[i].unfit[n])) fail_msg("%s\n%s fits", texts[i].schema, texts[i].unfit[n]);
        weft_grammar_destroy(grammar);
    }
}

/* Schemas within schemas: more rules than there was room for at first. */
static void test_nested(void **state) {
    (void)state;
    enum { DEPTH = 150 };
    char schema[DEPTH * 12 + 1] = "", text[2 * DEPTH + 1] = "";
    for (int i = 0; i < DEPTH; i++) strcat(schema, "{\"items\":");
    strcat(schema, "{\"const\":1}");
    for (int i = 0; i < DEPTH; i++) strcat(schema, "}");
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    weft_grammar *grammar = make_grammar(&world, WEFT_GRAMMAR_JSON_SCHEMA, schema);
    assert_true(fits(grammar, text));
    assert_false(fits(grammar, text + 1));
    weft_grammar_destroy(grammar);
}

/* ---- Random texts ---- */

static bool is_type(const cJSON *value, const char *type) {
    if (strcmp(type, "integer") == 0) return cJSON_IsNumber(value) && floor(value->valuedouble) == value->valuedouble;
    return (strcmp(type, "number") == 0 && cJSON_IsNumber(value)) || (strcmp(type, "string") == 0 && cJSON_IsString(value)) ||
           (strcmp(type, "null") == 0 && cJSON_IsNull(value)) || (strcmp(type, "boolean") == 0 && cJSON_IsBool(value)) ||
           (strcmp(type, "array") == 0 && cJSON_IsArray(value)) || (strcmp(type, "object") == 0 && cJSON_IsObject(value));
}

static bool is_valid(const cJSON *root, const cJSON *schema, const cJSON *value);

static int count_valid(const cJSON *root, const cJSON *schemas, const cJSON *value) {
    int n = 0;
    const cJSON *each;
    cJSON_ArrayForEach(each, schemas) n += is_valid(root, each, value);
    return n;
}

static size_t characters(const char *text) {
    size_t n = 0;
    for (; *text; text++) n += (*text & 0xC0) != 0x80;
    return n;
}

static double number_of(const cJSON *schema, const char *keyword, double missing) {
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(schema, keyword);
    return found ? found->valuedouble : missing;
}

static bool is_valid_object(const cJSON *root, const cJSON *schema, const cJSON *value) {
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(schema, "properties"), *each;
    const cJSON *others = cJSON_GetObjectItemCaseSensitive(schema, "additionalProperties");
    cJSON_ArrayForEach(each, cJSON_GetObjectItemCaseSensitive(schema, "required")) {
        if (!cJSON_GetObjectItemCaseSensitive(value, each->valuestring)) return false;
    }
    cJSON_ArrayForEach(each, value) {
        const cJSON *own = cJSON_GetObjectItemCaseSensitive(properties, each->string);
        if (own ? !is_valid(root, own, each) : others && !is_valid(root, others, each)) return false;
    }
    return true;
}

static bool is_valid_array(const cJSON *root, const cJSON *schema, const cJSON *value) {
    const cJSON *prefix = cJSON_GetObjectItemCaseSensitive(schema, "prefixItems"), *each;
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(schema, "items");
    int n = 0, n_prefix = cJSON_GetArraySize(prefix);
    cJSON_ArrayForEach(each, value) {
        const cJSON *own = n < n_prefix ? cJSON_GetArrayItem(prefix, n) : items;
        if (own && !is_valid(root, own, each)) return false;
        n++;
    }
    return n >= number_of(schema, "minItems", 0) && n <= number_of(schema, "maxItems", n);
}

/* As JSON Schema says, for the keywords of the schemas below. */
static bool is_valid(const cJSON *root, const cJSON *schema, const cJSON *value) {
    if (cJSON_IsBool(schema)) return cJSON_IsTrue(schema);
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(schema, "type"), *each;
    const cJSON *any = cJSON_GetObjectItemCaseSensitive(schema, "anyOf"), *all = cJSON_GetObjectItemCaseSensitive(schema, "allOf");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(schema, "enum"), *one = cJSON_GetObjectItemCaseSensitive(schema, "const");
    bool found = !list;
    if (type && !is_type(value, type->valuestring)) return false;
    if (cJSON_GetObjectItemCaseSensitive(schema, "$ref")) {
        const cJSON *definitions = cJSON_GetObjectItemCaseSensitive(root, "$defs");
        if (!is_valid(root, definitions->child, value)) return false; /* each has one */
    }
    if (any && count_valid(root, any, value) == 0) return false;
    if (all && count_valid(root, all, value) < cJSON_GetArraySize(all)) return false;
    cJSON_ArrayForEach(each, list) found = found || cJSON_Compare(each, value, true);
    if (!found || (one && !cJSON_Compare(one, value, true))) return false;
    double number = value->valuedouble;
    if (cJSON_IsNumber(value))
        return number >= number_of(schema, "minimum", number) && number <= number_of(schema, "maximum", number) &&
               number > number_of(schema, "exclusiveMinimum", -INFINITY) &&
               number < number_of(schema, "exclusiveMaximum", INFINITY);
    double n = cJSON_IsString(value) ? (double)characters(value->valuestring) : 0;
    if (cJSON_IsString(value)) return n >= number_of(schema, "minLength", 0) && n <= number_of(schema, "maxLength", n);
    if (cJSON_IsObject(value)) return is_valid_object(root, schema, value);
    return !cJSON_IsArray(value) || is_valid_array(root, schema, value);
}

static const char *const schemas[] = {
    "{}",
    "{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\", \"maxLength\": 9}, \"a\": {\"type\": \"integer\", "
    "\"minimum\": 1, \"maximum\": 220}, \"b\": {\"type\": \"array\", \"items\": {\"enum\": [\"a\", \"b\\\"\", 1, null, {\"x\": "
    "[1.5]}]}}}, "
    "\"required\": [\"name\"]}",
    "{\"type\": \"object\", \"properties\": {\"a\": {\"const\": 1}, \"ab\": {\"const\": \"x\"}, \"b\": true}, "
    "\"additionalProperties\": "
    "{\"type\": \"boolean\"}, \"required\": [\"b\", \"nam\"]}",
    "{\"type\": \"array\", \"prefixItems\": [{\"type\": \"string\"}, {\"type\": \"number\"}], \"items\": {\"type\": \"null\"}, "
    "\"maxItems\": 5}",
    "{\"$defs\": {\"node\": {\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}, \"next\": {\"anyOf\": "
    "[{\"$ref\": "
    "\"#/$defs/node\"}, {\"type\": \"null\"}]}}, \"required\": [\"a\", \"next\"]}}, \"$ref\": \"#/$defs/node\"}",
    "{\"allOf\": [{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"number\"}}, \"required\": [\"a\"]}, {\"properties\": "
    "{\"a\": "
    "{\"minimum\": -3, \"exclusiveMaximum\": 70}, \"b\": {\"type\": \"string\", \"minLength\": 2}}}]}",
    "{\"type\": \"number\", \"exclusiveMinimum\": -21, \"maximum\": 12}",
    "{\"type\": \"integer\", \"minimum\": 102, \"maximum\": 2101}",
};

/* A random text, cut after some tokens. */
static void write_text(const weft_grammar *grammar, int64_t left, char *text) {
    weft_matcher *matcher = NULL;
    uint64_t bits[N_WORDS];
    size_t size = 0;
    assert_int_equal(weft_matcher_create(grammar, &matcher, NULL), WEFT_OK);
    left += weft_matcher_tokens_needed(matcher);
    for (; left > 0 && !weft_matcher_must_end(matcher); left--) {
        weft_error error = {.message = ""};
        if (weft_matcher_mask(matcher, left, bits, N_WORDS, &error)) fail_msg("%s", error.message);
        weft_token token = choose(bits, &seed);
        assert_int_not_equal(token, WEFT_NO_TOKEN);
        assert_int_equal(weft_matcher_accept(matcher, token, NULL), WEFT_OK);
        if (weft_token_ends(world.model, token)) break;
        weft_text bytes = weft_tokenizer_bytes(world.model->tokenizer, token);
        memcpy(text + size, bytes.bytes, bytes.size);
        size += bytes.size;
    }
    text[size] = 0;
    assert_true(weft_matcher_may_end(matcher));
    weft_matcher_destroy(matcher);
}

static void test_random(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(schemas); i++) {
        weft_grammar *grammar = make_grammar(&world, WEFT_GRAMMAR_JSON_SCHEMA, schemas[i]);
        cJSON *schema = cJSON_Parse(schemas[i]);
        assert_non_null(schema);
        for (int64_t n = 0; n < 60; n++) {
            char text[4096];
            write_text(grammar, n, text);
            cJSON *value = cJSON_ParseWithOpts(text, NULL, true);
            if (!value || !is_valid(schema, schema, value)) fail_msg("%s\n%s is not valid", schemas[i], text);
            cJSON_Delete(value);
        }
        cJSON_Delete(schema);
        weft_grammar_destroy(grammar);
    }
}

/* ---- What is refused ---- */

static const struct {
    const char *schema, *message; /* part of it */
    weft_status status;
} refused[] = {
    {"", "no JSON", WEFT_INVALID_ARGUMENT},
    {"{\"type\": \"integer\"", "does not end", WEFT_INVALID_ARGUMENT},
    {"[]", "an object, true or false", WEFT_INVALID_ARGUMENT},
    {"false", "no text fits", WEFT_INVALID_ARGUMENT},
    {"{\"properties\": {\"a\": {\"items\": {\"contains\": 1}}}}",
     "#/properties/a/items: weft does not know the keyword \"contains\"", WEFT_UNSUPPORTED},
    {"{\"anyOf\": [true, {\"if\": true}]}", "#/anyOf/1: weft does not know", WEFT_UNSUPPORTED},
    {"{\"type\": \"text\"}", "type", WEFT_INVALID_ARGUMENT},
    {"{\"type\": \"object\", \"properties\": []}", "\"properties\" is not an object", WEFT_INVALID_ARGUMENT},
    {"{\"$ref\": \"other.json\"}", "references", WEFT_UNSUPPORTED},
    {"{\"$ref\": \"#/$defs/a\"}", "there is no \"#/$defs/a\"", WEFT_INVALID_ARGUMENT},
    {"{\"type\": \"array\", \"uniqueItems\": true}", "uniqueItems", WEFT_UNSUPPORTED},
    {"{\"type\": \"array\", \"minItems\": -1}", "minItems", WEFT_INVALID_ARGUMENT},
    {"{\"type\": \"number\", \"minimum\": 0.5}", "whole", WEFT_UNSUPPORTED},
    {"{\"type\": \"integer\", \"minimum\": 5, \"maximum\": 4}", "no text fits", WEFT_INVALID_ARGUMENT},
    {"{\"type\": \"integer\", \"maximum\": 1e30}", "beyond", WEFT_UNSUPPORTED},
    {"{\"type\": \"string\", \"pattern\": \"(?=a)\"}", "groups", WEFT_UNSUPPORTED},
    {"{\"type\": \"string\", \"pattern\": \"\\\\bx\"}", "escape", WEFT_UNSUPPORTED},
    {"{\"type\": \"string\", \"pattern\": \"a^\"}", "^ and $", WEFT_UNSUPPORTED},
    {"{\"type\": \"string\", \"pattern\": \"a\", \"maxLength\": 4}", "beside pattern", WEFT_UNSUPPORTED},
    {"{\"type\": \"string\", \"format\": \"iri\"}", "does not know this format", WEFT_UNSUPPORTED},
    {"{\"type\": \"string\", \"allOf\": [{\"pattern\": \"a\"}, {\"pattern\": \"b\"}]}", "cannot combine", WEFT_UNSUPPORTED},
    {"{\"enum\": [1, 2], \"minimum\": 2}", "cannot combine", WEFT_UNSUPPORTED},
    {"{\"type\": \"object\", \"minProperties\": 2}", "minProperties", WEFT_UNSUPPORTED},
};

static void test_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        weft_error error = {.message = ""};
        weft_grammar *grammar = NULL;
        const char *text = refused[i].schema;
        weft_status status = weft_grammar_create(world.model, WEFT_GRAMMAR_JSON_SCHEMA, text, strlen(text), &grammar, &error);
        if (status != refused[i].status || !strstr(error.message, refused[i].message))
            fail_msg("%s\n%s: %s", text, weft_status_text(status), error.message);
    }
}

static void test_memory(void **state) {
    (void)state;
    const char *text = schemas[1];
    weft_grammar_destroy(make_grammar(&world, WEFT_GRAMMAR_JSON_SCHEMA, text)); /* the model now keeps its trie */
    size_t live = world.limits.live;
    for (size_t at = 1, n = at; n >= at; at++) {
        weft_grammar *grammar = NULL;
        world.limits.n_all = 0;
        world.limits.fail_at = at;
        weft_status status = weft_grammar_create(world.model, WEFT_GRAMMAR_JSON_SCHEMA, text, strlen(text), &grammar, NULL);
        n = world.limits.n_all;
        assert_int_equal(status, n >= at ? WEFT_OUT_OF_MEMORY : WEFT_OK);
        weft_grammar_destroy(grammar);
        assert_int_equal(world.limits.live, live);
    }
    world.limits.fail_at = 0;
}

int main(int n, char **arguments) {
    if (n > 1) seed = (uint32_t)strtoul(arguments[1], NULL, 10);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts), cmocka_unit_test(test_nested), cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, open_world, close_world);
}
