/* The button with the settings: what new conversations begin with, and how answers are chosen. */
#ifndef SETTINGS_MENU_H
#define SETTINGS_MENU_H

#include "store.h"

/* The button. Changes go into `s`, which outlives it; `changed` is called when the settings are closed. */
GtkWidget *settings_menu_create(settings *s, void (*changed)(void *user), void *user);

#endif
