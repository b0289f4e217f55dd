/* weft check MODEL --html: the content of its JSON as a page. The page is one file without scripts, and loads nothing. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "check.h"
#include "os/os.h"

typedef struct page {
    byte_array bytes;
    bool out_of_memory;
    const cJSON *json;
} page;

/* ---- Writing ---- */

static void put_bytes(page *p, const char *bytes, size_t size) {
    if (!p->out_of_memory && !bytes_append(&p->bytes, bytes, size)) p->out_of_memory = true;
}

/* Markup and numbers of this file; texts from elsewhere go through put_text. */
WEFT_PRINTF(2, 3)
static void put(page *p, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size > 0) put_bytes(p, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
}

/* Escapes all that has a meaning in HTML, in an attribute too. Control characters, which a page may not have, and bytes that are
 * not UTF-8 become U+FFFD. */
static void put_text(page *p, const char *text) {
    static const struct {
        char letter;
        const char *escape;
    } escapes[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (size_t size = strlen(text); size > 0;) {
        size_t length = utf8_length(text, size);
        unsigned char first = (unsigned char)text[0];
        bool control = first < 0x20 || first == 0x7f || (first == 0xc2 && (unsigned char)text[1] < 0xa0);
        const char *escape = length == 0 || control ? "\xef\xbf\xbd" : NULL;
        for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++)
            if (text[0] == escapes[i].letter) escape = escapes[i].escape;
        if (escape)
            put_bytes(p, escape, strlen(escape));
        else
            put_bytes(p, text, length);
        text += length ? length : 1;
        size -= length ? length : 1;
    }
}

/* ---- Reading ---- */

static const char *text_of(const cJSON *entry, const char *name) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, name));
    return text ? text : "";
}

/* NaN where there is no number. */
static double number_of(const cJSON *entry, const char *name) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(entry, name);
    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static bool is_true(const cJSON *entry, const char *name) {
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(entry, name));
}

static const cJSON *list_of(const page *p, const char *name) {
    return cJSON_GetObjectItemCaseSensitive(p->json, name);
}

/* ---- Tables ---- */

static void put_cell(page *p, const char *text) {
    put(p, "<td>");
    put_text(p, text);
    put(p, "</td>");
}

static void put_number(page *p, double value, const char *format) {
    char text[64];
    snprintf(text, sizeof text, format, value);
    put(p, "<td class=\"n\">%s</td>", isnan(value) ? "" : text);
}

/* The columns are separated by bars. */
static void begin_table(page *p, const char *columns) {
    put(p, "<table>\n<tr>");
    while (columns[0]) {
        size_t length = strcspn(columns, "|");
        put(p, "<th>%.*s</th>", (int)length, columns);
        columns += length + (columns[length] == '|');
    }
    put(p, "</tr>\n");
}

/* ---- The first failure, devices ---- */

static void put_place(page *p, const char *name, const char *what) {
    const cJSON *place = list_of(p, name);
    if (!cJSON_IsObject(place)) return;
    put(p, "<p class=\"bad\">%s <b>", what);
    put_text(p, text_of(place, "name"));
    put(p, "</b> on ");
    put_text(p, text_of(place, "device"));
    put(p, " in step %.0f</p>\n", number_of(place, "step"));
}

static void put_golden(page *p) {
    const cJSON *golden = list_of(p, "golden");
    if (!golden) return;
    put(p, "<p>Compared with a golden of weft ");
    put_text(p, text_of(golden, "weft"));
    put(p, " on ");
    put_text(p, text_of(golden, "device"));
    put(p, " (");
    put_text(p, text_of(golden, "device_name"));
    put(p, ", driver &quot;");
    put_text(p, text_of(golden, "driver"));
    put(p, "&quot;) in %s: %.0f of %.0f results have the recorded bits.</p>\n", text_of(golden, "precision"),
        number_of(golden, "n_same_bits"), number_of(golden, "n_results"));
}

static void put_head(page *p) {
    put(p, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<title>");
    put(p, "weft check: ");
    put_text(p, text_of(p->json, "model"));
    put(p,
        "</title>\n<style>\nbody{font:14px/1.4 sans-serif;margin:2em;max-width:72em}\ntable{border-collapse:collapse;margin:.5em "
        "0}\n"
        "th,td{border:1px solid #ccc;padding:.15em .5em;text-align:left}\n.n{text-align:right;font-variant-numeric:tabular-nums}\n"
        ".bad{color:#a00000}\n.good{color:#006000}\nsvg{margin:0 2em 1em 0}\n"
        "figure{display:inline-block;margin:0;vertical-align:top}\n</style>\n</head>\n<body>\n<h1>weft check</h1>\n<p>");
    put_text(p, text_of(p->json, "model"));
    put(p, " (");
    put_text(p, text_of(p->json, "name"));
    put(p, ", family ");
    put_text(p, text_of(p->json, "family"));
    put(p, ", %.0f layers), precision %s, weft %s</p>\n", number_of(p->json, "n_layers"), text_of(p->json, "precision"),
        text_of(p->json, "weft"));
    bool passed = is_true(p->json, "passed");
    put(p, "<p class=\"%s\"><b>%s</b>: %.0f passed, %.0f failed, %.0f skipped nodes</p>\n", passed ? "good" : "bad",
        passed ? "passed" : "FAILED", number_of(p->json, "n_passed"), number_of(p->json, "n_failed"),
        number_of(p->json, "n_skipped"));
    put_golden(p);
    put_place(p, "first_failure", "The first node over its limit is");
    put_place(p, "first_not_finite", "NaN or infinity first appear in the result of");
}

static void put_devices(page *p) {
    const cJSON *device;
    put(p, "<h2>Devices</h2>\n");
    begin_table(p, "device|name|driver|features|memory");
    cJSON_ArrayForEach(device, list_of(p, "devices")) {
        put(p, "<tr>");
        put_cell(p, text_of(device, "id"));
        put_cell(p, text_of(device, "name"));
        put_cell(p, text_of(device, "driver"));
        put_cell(p, text_of(device, "features"));
        put_number(p, number_of(device, "memory_total") * 1e-9, "%.1f GB");
        put(p, "</tr>\n");
    }
    put(p, "</table>\n");
}

/* ---- The picture ---- */

/* Equal bits are white. From a millionth of the limit to the limit the colour goes from pale yellow to dark orange; beyond it, red.
 */
static void put_colour(page *p, const cJSON *cell) {
    static const double colours[3][3] = {{255, 250, 225}, {255, 205, 90}, {215, 85, 15}};
    double share = number_of(cell, "share");
    if (!is_true(cell, "passed") || isnan(share)) {
        put(p, "#c00000");
        return;
    }
    if (share <= 0.0) {
        put(p, "#ffffff");
        return;
    }
    double place = 2.0 * fmax(0.0, fmin(1.0, 1.0 + log10(share) / 6.0));
    int from = place < 1.0 ? 0 : 1;
    put(p, "#");
    for (int i = 0; i < 3; i++)
        put(p, "%02x", (unsigned)(colours[from][i] + (place - from) * (colours[from + 1][i] - colours[from][i])));
}

#define MAX_COLUMNS 64
enum { LEFT = 70, TOP = 90, WIDE = 34, HIGH = 14 };

typedef struct heat_map {
    const char *device, *measure;
    const char *ops[MAX_COLUMNS];
    size_t n_ops;
    size_t n_cells;
    int n_layers;
} heat_map;

static bool is_of(const heat_map *picture, const cJSON *cell) {
    return strcmp(text_of(cell, "device"), picture->device) == 0 && strcmp(text_of(cell, "measure"), picture->measure) == 0;
}

static size_t column_of(const heat_map *picture, const char *op) {
    size_t column = 0;
    while (column < picture->n_ops && strcmp(picture->ops[column], op) != 0) column++;
    return column;
}

static void find_columns(const page *p, heat_map *picture) {
    const cJSON *cell;
    cJSON_ArrayForEach(cell, list_of(p, "heat")) {
        if (!is_of(picture, cell)) continue;
        picture->n_cells++;
        if (number_of(cell, "layer") + 1 > picture->n_layers) picture->n_layers = (int)number_of(cell, "layer") + 1;
        size_t column = column_of(picture, text_of(cell, "op"));
        if (column == picture->n_ops && column < MAX_COLUMNS) picture->ops[picture->n_ops++] = text_of(cell, "op");
    }
}

static void put_rectangle(page *p, const heat_map *picture, const cJSON *cell) {
    size_t column = column_of(picture, text_of(cell, "op"));
    if (column == picture->n_ops) return;
    put(p, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" stroke=\"#999\" stroke-width=\".5\" fill=\"",
        LEFT + (int)column * WIDE, TOP + ((int)number_of(cell, "layer") + 1) * HIGH, WIDE, HIGH);
    put_colour(p, cell);
    put(p, "\"><title>");
    put_text(p, text_of(cell, "name"));
    put(p, " in step %.0f, kernel ", number_of(cell, "step"));
    put_text(p, text_of(cell, "kernel"));
    put(p, ": nmse %.2e, error %.2e, %.2g of the limit%s</title></rect>\n", number_of(cell, "nmse"), number_of(cell, "error"),
        number_of(cell, "share"), is_true(cell, "passed") ? "" : ": FAILED");
}

static void put_picture(page *p, const char *device, const char *measure, const char *title) {
    heat_map picture = {.device = device, .measure = measure};
    const cJSON *cell;
    find_columns(p, &picture);
    if (picture.n_cells == 0) return;
    put(p, "<figure><figcaption>");
    put_text(p, device);
    put(p,
        ", %s</figcaption>\n<svg xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"11\" width=\"%d\" "
        "height=\"%d\" role=\"img\">\n",
        title, LEFT + (int)picture.n_ops * WIDE + 40, TOP + (picture.n_layers + 1) * HIGH + 2);
    for (size_t i = 0; i < picture.n_ops; i++) {
        int x = LEFT + (int)i * WIDE + WIDE / 2;
        put(p, "<text x=\"%d\" y=\"%d\" transform=\"rotate(-55 %d %d)\">", x, TOP - 4, x, TOP - 4);
        put_text(p, picture.ops[i]);
        put(p, "</text>\n");
    }
    for (int layer = -1; layer < picture.n_layers; layer++) {
        put(p, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 4, TOP + (layer + 2) * HIGH - 3);
        if (layer < 0)
            put(p, "outside</text>\n");
        else
            put(p, "layer %d</text>\n", layer);
    }
    cJSON_ArrayForEach(cell, list_of(p, "heat")) if (is_of(&picture, cell)) put_rectangle(p, &picture, cell);
    put(p, "</svg></figure>\n");
}

static void put_pictures(page *p) {
    static const char *const titles[CHECK_N_MEASURES] = {"each node by itself", "in its step", "end to end", "its parts",
                                                         "against its parts"};
    const cJSON *device;
    if (cJSON_GetArraySize(list_of(p, "heat")) == 0) return;
    put(p, "<h2>Error by layer and op</h2>\n<p>The colour is the logarithm of the error's share of its limit: white for no error, "
           "dark orange at the limit, <span class=\"bad\">red</span> beyond it. Of several steps and nodes a field shows the "
           "worst.</p>\n");
    cJSON_ArrayForEach(device, list_of(p, "devices")) {
        for (int i = 0; i < CHECK_N_MEASURES; i++) put_picture(p, text_of(device, "id"), check_measure_names[i], titles[i]);
        put(p, "<br>\n");
    }
}

/* ---- Nodes ---- */

static void put_node(page *p, const cJSON *node) {
    put(p, "<tr%s><td class=\"n\">%.0f</td>", is_true(node, "passed") ? "" : " class=\"bad\"", number_of(node, "step"));
    put_cell(p, text_of(node, "device"));
    put_cell(p, text_of(node, "name"));
    put_cell(p, text_of(node, "kernel"));
    for (int i = 0; i < CHECK_N_MEASURES; i++) {
        const cJSON *measure = cJSON_GetObjectItemCaseSensitive(node, check_measure_names[i]);
        put_number(p, number_of(measure, "nmse"), "%.1e");
        put_number(p, number_of(measure, "error"), "%.1e");
        if (!is_true(node, "passed")) put_cell(p, text_of(measure, "failure"));
    }
    if (is_true(node, "passed")) put_cell(p, text_of(node, "skipped"));
    put(p, "</tr>\n");
}

/* `passed`: those that passed, or those that did not. */
static void put_nodes(page *p, bool passed, const char *columns) {
    const cJSON *node;
    size_t n_nodes = 0;
    cJSON_ArrayForEach(node, list_of(p, "nodes")) n_nodes += is_true(node, "passed") == passed;
    if (n_nodes == 0) return;
    put(p, passed ? "<details><summary>%zu lines that passed</summary>\n" : "<h2>Over a limit (%zu lines)</h2>\n", n_nodes);
    begin_table(p, columns);
    cJSON_ArrayForEach(node, list_of(p, "nodes")) if (is_true(node, "passed") == passed) put_node(p, node);
    put(p, "</table>\n%s", passed ? "</details>\n" : "");
}

/* ---- Tokens, widths, texts ---- */

static void put_parting(page *p, const cJSON *parting) {
    const cJSON *tokens = cJSON_GetObjectItemCaseSensitive(parting, "tokens"),
                *texts = cJSON_GetObjectItemCaseSensitive(parting, "texts"),
                *logits = cJSON_GetObjectItemCaseSensitive(parting, "logits");
    put(p, "<tr%s><td class=\"n\">%.0f</td>", is_true(parting, "tie") ? "" : " class=\"bad\"", number_of(parting, "index"));
    put_cell(p, text_of(parting, "device"));
    put_cell(p, is_true(parting, "tie") ? "a tie" : "differs");
    for (int i = 0; i < 2; i++) {
        const char *text = cJSON_GetStringValue(cJSON_GetArrayItem(texts, i));
        put(p, "<td>%.0f \"", cJSON_GetNumberValue(cJSON_GetArrayItem(tokens, i)));
        put_text(p, text ? text : "");
        put(p, "\"</td>");
        for (int j = 0; j < 2; j++)
            put_number(p, cJSON_GetNumberValue(cJSON_GetArrayItem(cJSON_GetArrayItem(logits, j), i)), "%.6f");
    }
    put_number(p, number_of(parting, "gap"), "%.3g");
    put_number(p, number_of(parting, "gap_limit"), "%.3g");
    put(p, "</tr>\n");
}

static void put_greedy(page *p) {
    const cJSON *greedy = list_of(p, "greedy"), *parting, *partings;
    if (!greedy) return;
    partings = cJSON_GetObjectItemCaseSensitive(greedy, "partings");
    put(p, "<h2>Greedy tokens</h2>\n<p>%.0f tokens: %.0f ties, %.0f differences</p>\n", number_of(greedy, "n_tokens"),
        number_of(greedy, "n_ties"), number_of(greedy, "n_differences"));
    if (cJSON_GetArraySize(partings) == 0) return;
    begin_table(p,
                "token|device||the first device chose|its logit there|its logit here|this device chose|its logit there|its logit "
                "here|gap|of a tie up to");
    cJSON_ArrayForEach(parting, partings) put_parting(p, parting);
    put(p, "</table>\n");
}

static void put_widths(page *p) {
    const cJSON *width, *op;
    if (!list_of(p, "widths")) return;
    put(p, "<h2>Widths and chunks</h2>\n");
    begin_table(p, "device|rows|tokens/s|same bits|different results");
    cJSON_ArrayForEach(width, list_of(p, "widths")) {
        double n_rows = number_of(width, "n_rows"), n_different = number_of(width, "n_different");
        put(p, "<tr%s>", n_different > 0 ? " class=\"bad\"" : "");
        put_cell(p, text_of(width, "device"));
        put(p, is_true(width, "chunks") ? "<td>of a prompt, in chunks of %.0f</td>" : "<td>%.0f together</td>", n_rows);
        put_number(p, number_of(width, "tokens_per_s"), "%.1f");
        put(p, "<td>%s</td><td>", n_rows < 2 ? "" : n_different > 0 ? "NO" : "yes");
        if (n_different > 0) put(p, "from ");
        put_text(p, text_of(width, "first"));
        cJSON_ArrayForEach(op, cJSON_GetObjectItemCaseSensitive(width, "ops")) {
            if (number_of(op, "n_different") == 0) continue;
            put(p, "<br>");
            put_text(p, text_of(op, "op"));
            put(p, ": %.0f of %.0f", number_of(op, "n_different"), number_of(op, "n_compared"));
        }
        put(p, "</td></tr>\n");
    }
    put(p, "</table>\n");
}

static void put_texts(page *p) {
    static const struct {
        const char *name, *format;
    } columns[] = {{"n_positions", "%.0f"}, {"mean_kl", "%.3g"},    {"max_kl", "%.3g"},
                   {"n_same_top", "%.0f"},  {"perplexity", "%.4f"}, {"reference_perplexity", "%.4f"}};
    const cJSON *entry;
    if (!list_of(p, "text")) return;
    put(p, "<h2>Probabilities over a text, against <code>exact</code></h2>\n");
    begin_table(p, "device|precision|reference|tokens|mean KL|largest KL|same most likely token|perplexity|of the reference");
    cJSON_ArrayForEach(entry, list_of(p, "text")) {
        put(p, "<tr>");
        put_cell(p, text_of(entry, "device"));
        put_cell(p, text_of(entry, "precision"));
        put_cell(p, text_of(entry, "reference"));
        for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
            put_number(p, number_of(entry, columns[i].name), columns[i].format);
        put(p, "</tr>\n");
    }
    put(p, "</table>\n");
}

static void put_bisect(page *p) {
    const cJSON *device, *swap;
    cJSON_ArrayForEach(device, list_of(p, "bisect")) {
        put(p, "<h2>Nodes swapped for the oracle</h2>\n<p>On ");
        put_text(p, text_of(device, "device"));
        put(p, " without a swap: nmse %.2e at the end (limit %.1e). ", number_of(device, "nmse"), number_of(device, "nmse_limit"));
        if (is_true(device, "passed"))
            put(p, "Each node by itself is within the limits.");
        else if (!text_of(device, "op")[0])
            put(p, "Several ops are wrong: no swap of one removes half of the error.");
        else {
            put(p, "The fault is in op <b>");
            put_text(p, text_of(device, "op"));
            put(p, "</b>, kernel %.0f ", number_of(device, "kernel"));
            put_text(p, text_of(device, "kernel_name"));
            put(p, ", in <b>");
            put_text(p, text_of(device, "node")[0] ? text_of(device, "node") : "more than one layer");
            put(p, "</b>.");
        }
        put(p, "</p>\n");
        begin_table(p, "swapped||layer|nodes|nmse at the end");
        cJSON_ArrayForEach(swap, cJSON_GetObjectItemCaseSensitive(device, "swaps")) {
            put(p, "<tr>");
            put_cell(p, text_of(swap, "kind"));
            put_cell(p, text_of(swap, "name"));
            put_number(p, number_of(swap, "layer"), "%.0f");
            put_number(p, number_of(swap, "n_nodes"), "%.0f");
            put_number(p, number_of(swap, "nmse"), "%.2e");
            put(p, "</tr>\n");
        }
        put(p, "</table>\n");
    }
}

/* ---- The page ---- */

weft_status check_html(const char *path, const cJSON *json, weft_error *error) {
    page p = {.json = json};
    put_head(&p);
    put_devices(&p);
    put_greedy(&p);
    put_bisect(&p);
    put_pictures(&p);
    put_nodes(&p, false,
              "step|device|node|kernel|by itself: nmse|error||in its step: nmse|error||end to end: nmse|error||parts: "
              "nmse|error||against parts: nmse|error|");
    put_widths(&p);
    put_texts(&p);
    put_nodes(&p, true,
              "step|device|node|kernel|by itself: nmse|error|in its step: nmse|error|end to end: nmse|error|parts: "
              "nmse|error|against parts: nmse|error|not run by itself");
    put(&p, "</body>\n</html>\n");
    weft_status status = p.out_of_memory ? weft_fail(error, WEFT_OUT_OF_MEMORY, "out of memory for the page") : WEFT_OK;
    FILE *file = status == WEFT_OK ? weft_os_stream_open(path, "wb") : NULL;
    bool written = file && fwrite(p.bytes.data, 1, p.bytes.size, file) == p.bytes.size;
    if (file && fclose(file) != 0) written = false;
    bytes_free(&p.bytes);
    return status != WEFT_OK || written ? status : weft_fail(error, WEFT_IO, "%s: cannot be written", path);
}
