/* The list of devices. Those that cannot be used are in it too, with the reason. */
#ifndef DEVICE_MENU_H
#define DEVICE_MENU_H

#include <gtk/gtk.h>
#include <weft/weft.h>

typedef struct device_menu device_menu;

/* Lives as long as its widget. `chosen` is called when the user has chosen another device, `refused` for one that cannot be used.
 */
device_menu *device_menu_create(void (*chosen)(void *user, const char *device), void (*refused)(void *user, const char *why),
                                void *user);
GtkWidget *device_menu_widget(const device_menu *menu);
void device_menu_list(device_menu *menu, const weft_device_info *list, size_t n);
/* Shows the device of that name as the chosen one, without a call of `chosen`. */
void device_menu_show(device_menu *menu, const char *device);

#endif
