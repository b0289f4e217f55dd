/* Drives the program as a user does, with two small models of random weights: test MODEL ANOTHER PICTURE.png. The folders for its
 * data and settings are those of XDG_DATA_HOME and XDG_CONFIG_HOME, which must be empty. */
#include <glib/gstdio.h>

#include "../app.h"
#include "driver.h"

#define CHECK(condition)                                                                                                           \
    do {                                                                                                                           \
        if (!(condition)) g_error("%s:%d: false: %s", __FILE__, __LINE__, #condition);                                             \
    } while (0)

static GtkApplication *app;

/* ---- What the user does ---- */

/* As from the command line; NULL: without a model. */
static void start(const char *model) {
    app = app_create(true);
    CHECK(g_application_register(G_APPLICATION(app), NULL, NULL));
    if (model) {
        GFile *file = g_file_new_for_path(model);
        g_application_open(G_APPLICATION(app), &file, 1, "");
        g_object_unref(file);
    } else {
        g_application_activate(G_APPLICATION(app));
    }
    WAIT_FOR(driver_window());
}

static void open_file(const char *path) {
    GFile *file = g_file_new_for_path(path);
    g_application_open(G_APPLICATION(app), &file, 1, "");
    g_object_unref(file);
}

static void end(void) {
    gtk_window_close(GTK_WINDOW(driver_window()));
    WAIT_FOR(!driver_window());
    g_object_unref(app);
}

static void act(const char *action) {
    CHECK(gtk_widget_activate_action(driver_window(), action, NULL));
}

static void ask(const char *text) {
    driver_type("question", text);
    WAIT_FOR(driver_can_press("Send"));
    CHECK(driver_key("question", GDK_KEY_Return, 0));
}

static void wait_for_answer(void) {
    WAIT_FOR(!driver_can_press("Stop") && driver_can_press("Retry"));
}

static void edit_first(void) {
    GtkWidget *line = gtk_widget_get_parent(driver_find(NULL, "user"));
    driver_press(gtk_widget_get_parent(line), "Edit");
}

static bool has_text(void) {
    return *driver_text("assistant", -1) != 0;
}

/* At least so many bytes of the last answer are there. */
static bool has_more(size_t size) {
    return strlen(driver_text("assistant", -1)) > size;
}

/* Waits until an answer comes, in pieces. Returns whether it still does: on a fast or busy machine it may be over first. */
static bool comes_in_pieces(void) {
    WAIT_FOR(has_text());
    size_t size = strlen(driver_text("assistant", -1));
    WAIT_FOR(has_more(size) || !driver_can_press("Stop"));
    return driver_can_press("Stop");
}

#define MOST_TRIES 8

/* Presses "Retry" until an answer comes that can be stopped. */
static void retry_until_it_comes(bool comes) {
    for (int i = 0; i < MOST_TRIES && !comes; i++) {
        wait_for_answer();
        driver_press(NULL, "Retry");
        comes = comes_in_pieces();
    }
    CHECK(comes);
}

static guint count_devices(void) {
    return g_list_model_get_n_items(gtk_drop_down_get_model(GTK_DROP_DOWN(driver_find(NULL, "device"))));
}

static void choose_device(guint index) {
    gtk_drop_down_set_selected(GTK_DROP_DOWN(driver_find(NULL, "device")), index);
}

/* Closing the menu makes it count. */
static void set(const char *name, double value) {
    GtkPopover *popover = gtk_menu_button_get_popover(GTK_MENU_BUTTON(driver_find(NULL, "settings")));
    gtk_spin_button_set_value(GTK_SPIN_BUTTON(driver_find(GTK_WIDGET(popover), name)), value);
    g_signal_emit_by_name(popover, "closed");
}

/* ---- What is checked ---- */

static void a_file_that_is_no_model(const char *self) {
    start(NULL);
    WAIT_FOR(count_devices() > 1);
    driver_type("question", "too early");
    CHECK(!driver_can_press("Send"));
    open_file(self);
    WAIT_FOR(driver_shows("problem", self));
    CHECK(!driver_can_press("Send"));
    open_file("/nowhere/no.gguf");
    WAIT_FOR(driver_shows("problem", "no.gguf"));
}

static void an_answer_comes_in_pieces(const char *model) {
    open_file(model);
    WAIT_FOR(driver_can_press("Send")); /* what was typed before is still there */
    CHECK(!driver_look_for(NULL, "problem"));
    set("temperature", 0);
    ask("Tell me a story");
    CHECK(strcmp(driver_text("user", 0), "Tell me a story") == 0);
    retry_until_it_comes(comes_in_pieces());
    driver_type("question", "wait");
    CHECK(driver_key("question", GDK_KEY_Return, 0));               /* not while an answer comes */
    CHECK(!driver_key("question", GDK_KEY_Return, GDK_SHIFT_MASK)); /* a new line, by the text view */
    CHECK(driver_count("user") == 1);
}

static void stop_ends_it(void) {
    act("win.stop");
    wait_for_answer();
    CHECK(driver_can_press("Continue"));
    size_t size = strlen(driver_text("assistant", 0));
    driver_press(NULL, "Continue");
    WAIT_FOR(has_more(size));
    retry_until_it_comes(driver_can_press("Stop"));
    driver_press(NULL, "Stop");
    wait_for_answer();
    CHECK(driver_shows("status", "Weights") && driver_shows("status", "KV cache") && driver_shows("status", "tok/s"));
}

/* Another model cannot be opened: the one that is open goes on. */
static void a_bad_file_leaves_the_model(const char *self) {
    open_file(self);
    WAIT_FOR(driver_shows("problem", self));
    retry_until_it_comes(false);
    driver_press(NULL, "Stop");
    wait_for_answer();
}

/* The same greedy answer, with the device changed in its middle. */
static void another_device_goes_on(void) {
    set("max-tokens", 600);
    driver_press(NULL, "Retry");
    WAIT_FOR(has_text());
    wait_for_answer();
    char *whole = g_strdup(driver_text("assistant", 0));
    CHECK(strlen(whole) > 400);
    bool in_time = false; /* on a busy machine the answer may be over first */
    for (guint i = 1; i <= MOST_TRIES && !in_time; i++) {
        driver_press(NULL, "Retry");
        WAIT_FOR(has_text());
        choose_device(i % 2);
        CHECK(driver_look_for(NULL, "cancel-loading"));
        in_time = driver_can_press("Stop");
        WAIT_FOR(!driver_look_for(NULL, "cancel-loading"));
        wait_for_answer();
        CHECK(g_str_equal(driver_text("assistant", 0), whole));
    }
    CHECK(in_time);
    g_free(whole);
}

static void retry_and_edit(void) {
    set("temperature", 3);
    char *before = g_strdup(driver_text("assistant", 0));
    driver_press(NULL, "Retry");
    WAIT_FOR(has_text());
    wait_for_answer();
    CHECK(!g_str_equal(driver_text("assistant", 0), before));
    set("temperature", 0); /* a draw may end an answer at once */
    ask("And then?");
    CHECK(driver_count("user") == 2);
    WAIT_FOR(driver_count("assistant") == 2 && has_text());
    act("win.stop");
    wait_for_answer();
    g_free(before);
    edit_first();
    driver_type("question", "Tell me two stories");
    driver_press(NULL, "Send");
    CHECK(driver_count("user") == 1 && g_str_equal(driver_text("user", 0), "Tell me two stories"));
    WAIT_FOR(has_text());
    act("win.stop");
    wait_for_answer();
}

/* A message that does not fit is told, goes back to where it was typed, and nothing else changes. */
static void too_long(void) {
    char *before = g_strdup(driver_text("assistant", 0)), *text = g_strnfill(10000, 'x');
    for (int i = 5; i < 10000; i += 6) text[i] = ' ';
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(GTK_TEXT_VIEW(driver_find(NULL, "question")));
    for (int edits = 0; edits < 2; edits++) {
        if (edits) edit_first();
        ask(text);
        WAIT_FOR(driver_look_for(NULL, "conversation-problem"));
        CHECK(driver_count("user") == 1 && driver_count("assistant") == 1 && g_str_equal(driver_text("assistant", 0), before));
        CHECK(gtk_text_buffer_get_char_count(buffer) > 9990);
        driver_type("question", "");
    }
    ask("In short?");
    WAIT_FOR(driver_count("assistant") == 2 && has_text());
    CHECK(!driver_look_for(NULL, "conversation-problem"));
    act("win.stop");
    wait_for_answer();
    edit_first();
    ask("Tell me two stories");
    WAIT_FOR(has_text());
    act("win.stop");
    wait_for_answer();
    g_free(before);
    g_free(text);
}

static GtkListBox *conversations(void) {
    return GTK_LIST_BOX(driver_find(NULL, "conversations"));
}

static void choose(int index) {
    gtk_list_box_select_row(conversations(), gtk_list_box_get_row_at_index(conversations(), index));
}

/* Two answers at once. */
static void two_conversations(void) {
    set("max-tokens", 0);
    act("win.new");
    ask("The first");
    act("win.new");
    ask("The second");
    WAIT_FOR(has_text());
    choose(1);
    CHECK(g_str_equal(driver_text("user", 0), "The first"));
    WAIT_FOR(has_text());
    act("win.stop");
    wait_for_answer();
    choose(0);
    CHECK(g_str_equal(driver_text("user", 0), "The second"));
    act("win.stop");
    wait_for_answer();
    set("max-tokens", 600);
}

static void delete_first(void) {
    GtkWidget *menu = driver_find(GTK_WIDGET(gtk_list_box_get_row_at_index(conversations(), 0)), "delete-menu");
    GtkPopover *popover = gtk_menu_button_get_popover(GTK_MENU_BUTTON(menu));
    GtkListBoxRow *row = gtk_list_box_get_row_at_index(conversations(), 0);
    driver_press(gtk_popover_get_child(popover), "Delete");
    WAIT_FOR(gtk_list_box_get_row_at_index(conversations(), 0) != row);
}

static void everything_is_there_again(const char *picture) {
    char *first = g_strdup(driver_text("assistant", 0)), *second = NULL;
    act("win.new");
    ask("Another one");
    WAIT_FOR(driver_count("assistant") == 1 && has_more(100));
    end();
    start(NULL);
    WAIT_FOR(driver_count("user") == 1 && has_text());
    CHECK(g_str_equal(driver_text("user", 0), "Another one"));
    second = g_strdup(driver_text("assistant", 0));
    CHECK(strlen(second) > 100);
    driver_draw(picture);
    CHECK(!gtk_list_box_get_row_at_index(conversations(), 2));
    choose(1);
    WAIT_FOR(g_str_equal(driver_text("user", 0), "Tell me two stories"));
    CHECK(g_str_equal(driver_text("assistant", 0), first));
    g_free(first);
    g_free(second);
}

/* The path of the file of conversation `index`, with an ending. */
static char *path_of(int index, const char *ending) {
    char *folder = g_build_filename(g_get_user_data_dir(), "weft-desktop-chat", NULL);
    char *list = g_build_filename(folder, "conversations.ini", NULL);
    GKeyFile *file = g_key_file_new();
    CHECK(g_key_file_load_from_file(file, list, G_KEY_FILE_NONE, NULL));
    char **ids = g_key_file_get_groups(file, NULL);
    char *path = g_strdup_printf("%s/%s.weft%s", folder, ids[index], ending);
    g_strfreev(ids);
    g_key_file_unref(file);
    g_free(list);
    g_free(folder);
    return path;
}

static void damage(const char *path) {
    char *bytes;
    gsize size;
    CHECK(g_file_get_contents(path, &bytes, &size, NULL));
    bytes[size / 2] ^= 1;
    CHECK(g_file_set_contents(path, bytes, (gssize)size, NULL));
    g_free(bytes);
}

/* Of two conversations, the file of the second is damaged. */
static void a_damaged_conversation_is_told(void) {
    end();
    char *path = path_of(1, "");
    damage(path);
    g_free(path);
    start(NULL);
    WAIT_FOR(driver_count("user") == 1 && has_text());
    choose(1);
    WAIT_FOR(driver_look_for(NULL, "conversation-problem"));
    CHECK(!driver_can_press("Send"));
    choose(0);
    ask("Are you there?");
    WAIT_FOR(driver_count("assistant") == 2 && has_text());
    act("win.stop");
    wait_for_answer();
}

/* A folder stands where the file would be written. The window comes back when it is closed, once. */
static void a_conversation_that_cannot_be_saved(void) {
    char *path = path_of(0, ".partial");
    CHECK(g_mkdir(path, 0700) == 0);
    ask("And now?");
    WAIT_FOR(driver_count("assistant") == 3 && has_text());
    act("win.stop");
    WAIT_FOR(driver_look_for(NULL, "conversation-problem"));
    wait_for_answer();
    gtk_window_close(GTK_WINDOW(driver_window()));
    WAIT_FOR(driver_shows("problem", "close the window again"));
    CHECK(driver_count("assistant") == 3);
    CHECK(g_rmdir(path) == 0);
    end();
    start(NULL);
    WAIT_FOR(driver_count("assistant") == 3);
    g_free(path);
}

/* A conversation belongs to its model, which can be opened from it. */
static void another_model(const char *model) {
    char *first = g_strdup(driver_text("assistant", 0));
    open_file(model);
    WAIT_FOR(driver_look_for(NULL, "conversation-problem"));
    CHECK(!driver_can_press("Send"));
    act("win.new");
    ask("Who are you?");
    WAIT_FOR(driver_count("assistant") == 1 && has_text());
    act("win.stop");
    wait_for_answer();
    choose(1);
    WAIT_FOR(driver_can_press("Open its model"));
    driver_press(NULL, "Open its model");
    WAIT_FOR(!driver_look_for(NULL, "conversation-problem") && driver_count("assistant") == 3);
    CHECK(g_str_equal(driver_text("assistant", 0), first));
    g_free(first);
}

static void conversations_are_deleted(void) {
    delete_first();
    delete_first();
    delete_first();
    WAIT_FOR(driver_count("user") == 0);
    end();
    start(NULL);
    WAIT_FOR(!driver_look_for(NULL, "cancel-loading"));
    CHECK(driver_count("user") == 0);
}

/* The last in the list is for tests, or has no driver: it is not opened, and the reason is told. */
static void a_device_that_cannot_be_used(void) {
    GtkDropDown *devices = GTK_DROP_DOWN(driver_find(NULL, "device"));
    WAIT_FOR(count_devices() > 1);
    guint before = gtk_drop_down_get_selected(devices);
    CHECK(!driver_look_for(NULL, "problem"));
    choose_device(count_devices() - 1);
    WAIT_FOR(driver_look_for(NULL, "problem"));
    CHECK(gtk_drop_down_get_selected(devices) == before);
}

/* Whether a loading is cancelled in time depends on the machine, so it is tried a few times. The model that is open stays. */
static void loading_is_cancelled(const char *model) {
    for (int i = 0; i < 5; i++) {
        open_file(model);
        driver_press(driver_find(NULL, "loading"), "Cancel");
        WAIT_FOR(!driver_look_for(NULL, "cancel-loading"));
    }
    ask("Still here?");
    WAIT_FOR(has_text());
    end();
}

/* Says what is tested, with the seconds since the beginning. */
static void begin(const char *what) {
    static gint64 began;
    if (!began) began = g_get_monotonic_time();
    g_print("%5.1f s  %s\n", (double)(g_get_monotonic_time() - began) / G_USEC_PER_SEC, what);
}

int main(int argc, char **argv) {
    if (argc != 4) g_error("usage: chat-test MODEL ANOTHER PICTURE.png");
    begin("a file that is no model");
    a_file_that_is_no_model(argv[0]);
    begin("an answer comes in pieces");
    an_answer_comes_in_pieces(argv[1]);
    begin("an answer is stopped and goes on");
    stop_ends_it();
    begin("a file that is no model, beside an open model");
    a_bad_file_leaves_the_model(argv[0]);
    begin("another device in the middle of an answer");
    another_device_goes_on();
    begin("retry and edit");
    retry_and_edit();
    begin("a message that is too long");
    too_long();
    begin("everything is there again after a restart");
    everything_is_there_again(argv[3]);
    begin("a damaged conversation");
    a_damaged_conversation_is_told();
    begin("a conversation that cannot be saved");
    a_conversation_that_cannot_be_saved();
    begin("another model");
    another_model(argv[2]);
    begin("conversations are deleted");
    conversations_are_deleted();
    begin("a device that cannot be used");
    a_device_that_cannot_be_used();
    begin("two conversations");
    two_conversations();
    begin("loading is cancelled");
    loading_is_cancelled(argv[1]);
    begin("done");
    return 0;
}
