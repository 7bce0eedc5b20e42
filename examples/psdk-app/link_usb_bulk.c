/* LINK=usb-bulk: the aircraft over USB bulk, and at a serial port where one is given. The aircraft
 * says which of the two ends of the cable this machine is.
 *
 * NEVER TRIED ON AN AIRCRAFT, nor against any other peer: it compiles, and that is all. */
#include <errno.h>
#include <fcntl.h>
#include <libusb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "uart.h"

#define OK DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS
#define FAILED DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR
#define TRANSFER_MS 50

static const struct options *options;
static atomic_bool lost;

struct channel {
    /* As the USB host. */
    libusb_device_handle *device;
    T_DjiHalUsbBulkChannelInfo info;
    /* As the USB device: the gadget's files. */
    int reading, writing;
};

static T_DjiReturnCode lose(void)
{
    lost = true;
    return FAILED;
}

static bool open_device(struct channel *channel, const T_DjiHalUsbBulkInfo *info)
{
    static bool is_ready;
    if (!is_ready && libusb_init(NULL) != 0)
        return false;
    is_ready = true;
    channel->info = info->channelInfo;
    channel->device = libusb_open_device_with_vid_pid(NULL, info->vid, info->pid);
    if (!channel->device)
        return false;
    libusb_set_auto_detach_kernel_driver(channel->device, 1);
    if (libusb_claim_interface(channel->device, channel->info.interfaceNum) == 0)
        return true;
    libusb_close(channel->device);
    return false;
}

static bool open_files(struct channel *channel, uint16_t interface)
{
    for (int i = 0; i < options->usb_channel_count; i++) {
        const struct usb_channel *known = &options->usb_channels[i];
        if (known->interface != interface || !known->read_file || !known->write_file)
            continue;
        channel->reading = open(known->read_file, O_RDWR | O_CLOEXEC);
        channel->writing = open(known->write_file, O_RDWR | O_CLOEXEC);
        if (channel->reading >= 0 && channel->writing >= 0)
            return true;
        say(3, "%s, %s: %s", known->read_file, known->write_file, strerror(errno));
    }
    return false;
}

static void close_channel(struct channel *channel)
{
    if (channel->device) {
        libusb_release_interface(channel->device, channel->info.interfaceNum);
        libusb_close(channel->device);
    }
    if (channel->reading >= 0)
        close(channel->reading);
    if (channel->writing >= 0)
        close(channel->writing);
    free(channel);
}

static T_DjiReturnCode bulk_open(T_DjiHalUsbBulkInfo info, T_DjiUsbBulkHandle *handle)
{
    struct channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return DJI_ERROR_SYSTEM_MODULE_CODE_MEMORY_ALLOC_FAILED;
    channel->reading = channel->writing = -1;
    if (info.isUsbHost ? open_device(channel, &info)
                       : open_files(channel, info.channelInfo.interfaceNum)) {
        *handle = channel;
        return OK;
    }
    channel->device = NULL;
    close_channel(channel);
    return FAILED;
}

static T_DjiReturnCode bulk_close(T_DjiUsbBulkHandle handle)
{
    close_channel(handle);
    return OK;
}

/* In both directions; `bytes` is read from where the endpoint leads to the aircraft. */
static T_DjiReturnCode transfer(const struct channel *channel, uint16_t endpoint, uint8_t *bytes,
                                uint32_t length, uint32_t *count)
{
    int moved = 0;
    int error = libusb_bulk_transfer(channel->device, (unsigned char)endpoint, bytes, (int)length,
                                     &moved, TRANSFER_MS);
    *count = (uint32_t)moved;
    if (error == LIBUSB_ERROR_NO_DEVICE)
        return lose();
    return error == 0 || error == LIBUSB_ERROR_TIMEOUT ? OK : FAILED;
}

static T_DjiReturnCode bulk_write(T_DjiUsbBulkHandle handle, const uint8_t *bytes, uint32_t length,
                                  uint32_t *written)
{
    const struct channel *channel = handle;
    *written = 0;
    if (channel->device) /* libusb takes one type of buffer for both directions */
        return transfer(channel, channel->info.endPointOut, (uint8_t *)(uintptr_t)bytes, length,
                        written);
    ssize_t count = write(channel->writing, bytes, length);
    if (count < 0)
        return FAILED;
    *written = (uint32_t)count;
    return OK;
}

static T_DjiReturnCode bulk_read(T_DjiUsbBulkHandle handle, uint8_t *bytes, uint32_t length,
                                 uint32_t *read_count)
{
    const struct channel *channel = handle;
    *read_count = 0;
    if (channel->device)
        return transfer(channel, channel->info.endPointIn, bytes, length, read_count);
    ssize_t count = read(channel->reading, bytes, length);
    if (count < 0)
        return FAILED;
    *read_count = (uint32_t)count;
    return OK;
}

/* What the gadget's descriptors say. */
static T_DjiReturnCode bulk_info(T_DjiHalUsbBulkDeviceInfo *info)
{
    memset(info, 0, sizeof *info);
    info->vid = options->usb_vid;
    info->pid = options->usb_pid;
    for (int i = 0; i < options->usb_channel_count && i < DJI_HAL_USB_BULK_NUM_MAX; i++) {
        info->channelInfo[i].interfaceNum = options->usb_channels[i].interface;
        info->channelInfo[i].endPointIn = options->usb_channels[i].in;
        info->channelInfo[i].endPointOut = options->usb_channels[i].out;
    }
    return OK;
}

T_DjiReturnCode link_register(const struct options *given)
{
    static const T_DjiHalUsbBulkHandler handler = {
        .UsbBulkInit = bulk_open,
        .UsbBulkDeInit = bulk_close,
        .UsbBulkWriteData = bulk_write,
        .UsbBulkReadData = bulk_read,
        .UsbBulkGetDeviceInfo = bulk_info,
    };
    options = given;
    T_DjiReturnCode code = given->device ? uart_register(given->device) : OK;
    return code == OK ? DjiPlatform_RegHalUsbBulkHandler(&handler) : code;
}

bool link_is_lost(void)
{
    return lost || uart_is_lost();
}
