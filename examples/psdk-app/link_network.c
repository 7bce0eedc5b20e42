/* LINK=network: the aircraft over a network interface, and at a serial port where one is given. The
 * library says which address the interface gets, and speaks through the sockets of sockets.c.
 *
 * NEVER TRIED ON AN AIRCRAFT, nor against any other peer: it compiles, and that is all. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app.h"
#include "sockets.h"
#include "uart.h"

#define OK DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS
#define FAILED DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR

static const struct options *options;

static bool set_address(int control, unsigned long what, struct ifreq *request, const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
        return false;
    memcpy(&request->ifr_addr, &address, sizeof address);
    return ioctl(control, what, request) == 0;
}

static bool bring_up(int control, struct ifreq *request)
{
    if (ioctl(control, SIOCGIFFLAGS, request) != 0)
        return false;
    request->ifr_flags |= IFF_UP | IFF_RUNNING;
    return ioctl(control, SIOCSIFFLAGS, request) == 0;
}

/* Wants CAP_NET_ADMIN. */
static T_DjiReturnCode network_open(const char *address, const char *mask,
                                    T_DjiNetworkHandle *handle)
{
    struct ifreq request = {0};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0 || strlen(options->interface) >= sizeof request.ifr_name)
        return FAILED;
    strcpy(request.ifr_name, options->interface);
    bool good = set_address(control, SIOCSIFADDR, &request, address) &&
                set_address(control, SIOCSIFNETMASK, &request, mask) && bring_up(control, &request);
    if (!good)
        say(3, "%s can't have the address %s: %s", options->interface, address, strerror(errno));
    close(control);
    *handle = NULL;
    return good ? OK : FAILED;
}

static T_DjiReturnCode network_close(T_DjiNetworkHandle handle)
{
    (void)handle;
    return OK;
}

static T_DjiReturnCode network_info(T_DjiHalNetworkDeviceInfo *info)
{
    info->usbNetAdapter.vid = options->usb_vid;
    info->usbNetAdapter.pid = options->usb_pid;
    return OK;
}

T_DjiReturnCode link_register(const struct options *given)
{
    static const T_DjiHalNetworkHandler handler = {
        .NetworkInit = network_open,
        .NetworkDeInit = network_close,
        .NetworkGetDeviceInfo = network_info,
    };
    options = given;
    T_DjiReturnCode code = given->device ? uart_register(given->device) : OK;
    if (code == OK)
        code = DjiPlatform_RegHalNetworkHandler(&handler);
    return code == OK ? sockets_register() : code;
}

bool link_is_lost(void)
{
    return uart_is_lost();
}
