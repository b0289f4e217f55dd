/* Drives the program as a user does, with a small model of random weights: test MODEL PICTURE.png. The folders for its data and
 * settings are those of XDG_DATA_HOME and XDG_CONFIG_HOME, which must be empty. */
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

static bool has_text(void) {
    return *driver_text("assistant", -1) != 0;
}

/* At least so many bytes of the last answer are there. */
static bool has_more(size_t size) {
    return strlen(driver_text("assistant", -1)) > size;
}

static guint count_devices(void) {
    return g_list_model_get_n_items(gtk_drop_down_get_model(GTK_DROP_DOWN(driver_find(NULL, "device"))));
}

/* The last one in the list that can be used: the CPU. Those after it are for tests. */
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
    WAIT_FOR(has_text());
    size_t size = strlen(driver_text("assistant", 0));
    WAIT_FOR(has_more(size));
    CHECK(driver_can_press("Stop"));
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
    driver_press(NULL, "Stop");
    wait_for_answer();
    CHECK(driver_shows("status", "Weights") && driver_shows("status", "KV cache") && driver_shows("status", "tok/s"));
}

/* Another model cannot be opened: the one that is open goes on. */
static void a_bad_file_leaves_the_model(const char *self) {
    open_file(self);
    WAIT_FOR(driver_shows("problem", self));
    size_t size = strlen(driver_text("assistant", 0));
    driver_press(NULL, "Continue");
    WAIT_FOR(has_more(size));
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
    driver_press(NULL, "Retry");
    WAIT_FOR(has_text() && !g_str_equal(driver_text("assistant", 0), whole));
    choose_device(1);
    WAIT_FOR(driver_look_for(NULL, "cancel-loading"));
    CHECK(driver_can_press("Stop"));
    wait_for_answer();
    CHECK(g_str_equal(driver_text("assistant", 0), whole));
    g_free(whole);
}

static void retry_and_edit(void) {
    set("temperature", 3);
    char *before = g_strdup(driver_text("assistant", 0));
    driver_press(NULL, "Retry");
    WAIT_FOR(has_text());
    wait_for_answer();
    CHECK(!g_str_equal(driver_text("assistant", 0), before));
    ask("And then?");
    CHECK(driver_count("user") == 2);
    WAIT_FOR(driver_count("assistant") == 2 && has_text());
    act("win.stop");
    wait_for_answer();
    g_free(before);
    driver_press(gtk_widget_get_parent(driver_find(NULL, "user")), "Edit");
    driver_type("question", "Tell me two stories");
    driver_press(NULL, "Send");
    CHECK(driver_count("user") == 1 && g_str_equal(driver_text("user", 0), "Tell me two stories"));
    WAIT_FOR(has_text());
    act("win.stop");
    wait_for_answer();
}

static void everything_is_there_again(const char *picture) {
    char *first = g_strdup(driver_text("assistant", 0)), *second = NULL;
    act("win.new");
    ask("Another one");
    WAIT_FOR(driver_count("assistant") == 1 && has_more(100));
    CHECK(driver_can_press("Stop"));
    end();
    start(NULL);
    WAIT_FOR(driver_count("user") == 1 && has_text());
    CHECK(g_str_equal(driver_text("user", 0), "Another one"));
    second = g_strdup(driver_text("assistant", 0));
    CHECK(strlen(second) > 100);
    driver_draw(picture);
    GtkListBox *list = GTK_LIST_BOX(driver_find(NULL, "conversations"));
    CHECK(!gtk_list_box_get_row_at_index(list, 2));
    gtk_list_box_select_row(list, gtk_list_box_get_row_at_index(list, 1));
    WAIT_FOR(g_str_equal(driver_text("user", 0), "Tell me two stories"));
    CHECK(g_str_equal(driver_text("assistant", 0), first));
    g_free(first);
    g_free(second);
}

/* Of two conversations, the file of the second is damaged. */
static void damage(void) {
    char *folder = g_build_filename(g_get_user_data_dir(), "weft-desktop-chat", NULL);
    char *list = g_build_filename(folder, "conversations.ini", NULL);
    GKeyFile *file = g_key_file_new();
    CHECK(g_key_file_load_from_file(file, list, G_KEY_FILE_NONE, NULL));
    char **ids = g_key_file_get_groups(file, NULL);
    char *path = g_strdup_printf("%s/%s.weft", folder, ids[1]), *bytes;
    gsize size;
    CHECK(g_file_get_contents(path, &bytes, &size, NULL));
    bytes[size / 2] ^= 1;
    CHECK(g_file_set_contents(path, bytes, (gssize)size, NULL));
    g_free(bytes);
    g_free(path);
    g_strfreev(ids);
    g_key_file_unref(file);
    g_free(list);
    g_free(folder);
}

static void a_damaged_conversation_is_told(void) {
    end();
    damage();
    start(NULL);
    WAIT_FOR(driver_count("user") == 1 && has_text());
    GtkListBox *list = GTK_LIST_BOX(driver_find(NULL, "conversations"));
    GtkListBoxRow *bad = gtk_list_box_get_row_at_index(list, 1);
    gtk_list_box_select_row(list, bad);
    WAIT_FOR(driver_look_for(NULL, "conversation-problem"));
    CHECK(!driver_can_press("Send"));
    gtk_list_box_select_row(list, gtk_list_box_get_row_at_index(list, 0));
    ask("Are you there?");
    WAIT_FOR(driver_count("assistant") == 2 && has_text());
    act("win.stop");
    wait_for_answer();
}

static GtkWidget *delete_button(int index) {
    GtkListBox *list = GTK_LIST_BOX(driver_find(NULL, "conversations"));
    GtkWidget *menu = driver_find(GTK_WIDGET(gtk_list_box_get_row_at_index(list, index)), "delete-menu");
    GtkPopover *popover = gtk_menu_button_get_popover(GTK_MENU_BUTTON(menu));
    return driver_find(gtk_popover_get_child(popover), "delete");
}

static void conversations_are_deleted(void) {
    GtkListBox *list = GTK_LIST_BOX(driver_find(NULL, "conversations"));
    g_signal_emit_by_name(delete_button(1), "clicked");
    WAIT_FOR(!gtk_list_box_get_row_at_index(list, 1));
    g_signal_emit_by_name(delete_button(0), "clicked");
    WAIT_FOR(driver_count("user") == 0);
    end();
    start(NULL);
    WAIT_FOR(!driver_look_for(NULL, "cancel-loading"));
    CHECK(driver_count("user") == 0);
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
    if (argc != 3) g_error("usage: chat-test MODEL PICTURE.png");
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
    begin("everything is there again after a restart");
    everything_is_there_again(argv[2]);
    begin("a damaged conversation");
    a_damaged_conversation_is_told();
    begin("conversations are deleted");
    conversations_are_deleted();
    begin("loading is cancelled");
    loading_is_cancelled(argv[1]);
    begin("done");
    return 0;
}
