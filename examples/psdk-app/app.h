/* What the parts of the example share. */
#ifndef PSDK_APP_H
#define PSDK_APP_H

#include <stdbool.h>
#include <stdint.h>

#include "dji_platform.h"

#define MOST_USB_CHANNELS 3

struct usb_channel {
    uint16_t interface, in, out;
    /* Where this machine is the USB device: the gadget's files, from the aircraft and to it. */
    const char *read_file, *write_file;
};

struct options {
    const char *credentials;
    const char *socket;     /* the bridge's; its own default where there is none */
    const char *serial_number;
    const char *transfer;   /* auto, dcftp or ftp */
    const char *device;     /* the serial port */
    const char *baud;
    const char *interface;  /* of the network to the aircraft */
    uint16_t usb_vid, usb_pid;
    struct usb_channel usb_channels[MOST_USB_CHANNELS];
    int usb_channel_count;
};

/* Registers the hooks of the link to the aircraft. Each LINK of CMakeLists.txt has its own. */
T_DjiReturnCode link_register(const struct options *options);

/* Whether the link was there and is gone for good. */
bool link_is_lost(void);

/* A line for the journal, which knows what "<3>" means: 3 error, 4 warning, 6 information. */
void say(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
