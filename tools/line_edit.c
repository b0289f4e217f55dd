/* Lines of a terminal with libedit: editing, a history, pastes of several lines. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <histedit.h>

#include "line.h"

static EditLine *editor;
static History *history_of_lines;
static const char *current_prompt = "";
static bool paste_failed;

static char *prompt_now(EditLine *el) {
    (void)el;
    return (char *)current_prompt;
}

/* Decodes UTF-8; what is none becomes U+FFFD. */
static int read_character(EditLine *el, wchar_t *character) {
    char text[4];
    size_t size = 0, wanted = 1;
    while (size < wanted) {
        int byte = interrupted() ? LINE_SIGNAL : line_byte();
        if (byte == LINE_SIGNAL && interrupted()) return -1;
        if (byte == LINE_SIGNAL) { /* the process goes on, or the size has changed */
            el_resize(el);
            el_set(el, EL_REFRESH);
            continue;
        }
        if (byte == LINE_END_OF_INPUT) return 0;
        if (byte == 0) continue;
        if (size == 0) wanted = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1;
        text[size++] = (char)byte;
    }
    unsigned first = (unsigned char)text[0];
    wchar_t code = (wchar_t)(wanted == 1 ? first : first & (0x7fu >> wanted));
    for (size_t i = 1; i < wanted; i++) code = (wchar_t)(code << 6 | (text[i] & 0x3f));
    *character = utf8_length(text, size) == size ? code : 0xfffd;
    return 1;
}

/* What stands between the marks of a paste becomes part of the line, with its line ends. */
static unsigned char insert_paste(EditLine *el, int key) {
    (void)key;
    static const wchar_t mark[] = L"\033[201~";
    const size_t mark_size = wcslen(mark);
    wchar_t *text = NULL;
    size_t size = 0, capacity = 0;
    bool ended = false;
    while (!ended) {
        if (size + 1 >= capacity) {
            capacity = capacity ? 2 * capacity : 1024;
            wchar_t *grown = realloc(text, capacity * sizeof *text);
            if (!grown) break;
            text = grown;
        }
        if (read_character(el, &text[size]) != 1) break;
        size++;
        ended = size >= mark_size && wmemcmp(text + size - mark_size, mark, mark_size) == 0;
    }
    if (ended) text[size - mark_size] = 0;
    paste_failed = !interrupted() && (!ended || (size > mark_size && el_winsertstr(el, text) != 0));
    free(text);
    return paste_failed ? CC_EOF : CC_REFRESH;
}

/* libedit writes characters as the locale does, which must be one with UTF-8. */
static bool use_utf8(void) {
    static const char *const locales[] = {"", "C.UTF-8"};
    char text[16];
    for (size_t i = 0; i < sizeof locales / sizeof *locales; i++)
        if (setlocale(LC_CTYPE, locales[i]) && MB_CUR_MAX >= 4 && MB_CUR_MAX <= sizeof text && wctomb(text, L'\u00e9') == 2 &&
            memcmp(text, "\xc3\xa9", 2) == 0)
            return true;
    return false;
}

bool line_edit_open(void) {
    HistEvent event;
    if (!use_utf8()) return false;
    editor = el_init("weft", stdin, stderr, stderr);
    history_of_lines = history_init();
    if (!editor || !history_of_lines) {
        line_edit_close();
        return false;
    }
    history(history_of_lines, &event, H_SETSIZE, 1000);
    el_set(editor, EL_PROMPT, prompt_now);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_HIST, history, history_of_lines);
    el_set(editor, EL_GETCFN, read_character);
    /* Between lines the terminal stays without editing and echo of its own. */
    el_set(editor, EL_SETTY, "-x", "-icanon", "-echo", NULL);
    el_source(editor, NULL);
    el_wset(editor, EL_ADDFN, L"weft-paste", L"inserts a paste", insert_paste);
    el_set(editor, EL_BIND, "\033[200~", "weft-paste", NULL);
    return true;
}

void line_edit_close(void) {
    if (editor) el_end(editor);
    if (history_of_lines) history_end(history_of_lines);
    editor = NULL;
    history_of_lines = NULL;
}

line_end line_edit(const char *prompt, byte_array *line) {
    HistEvent event;
    int n = 0;
    current_prompt = prompt;
    paste_failed = false;
    const char *text = el_gets(editor, &n);
    if (interrupted()) {
        fputs("\n", stderr);
        return LINE_INTERRUPTED;
    }
    if (paste_failed) return LINE_NO_MEMORY;
    if (!text || n <= 0) return LINE_CLOSED;
    if (n > 1) history(history_of_lines, &event, H_ENTER, text);
    size_t size = strlen(text);
    if (size > 0 && text[size - 1] == '\n') size--;
    return bytes_append(line, text, size) ? LINE_READ : LINE_NO_MEMORY;
}
