/* What the application registers. */
#include "stand_in.h"

#include <string.h>

static T_DjiOsalHandler osal_hooks;
static T_DjiHalUartHandler uart_hooks;
static T_DjiHalUsbBulkHandler usb_hooks;
static T_DjiHalNetworkHandler network_hooks;
static T_DjiFileSystemHandler file_hooks;
static T_DjiSocketHandler socket_hooks;
static bool have_osal, have_uart, have_usb, have_network, have_files, have_sockets;

/* Takes the hooks, unless one is missing. All members are function pointers, so that a missing one
 * is a word of zeros. */
static T_DjiReturnCode take(void *own, bool *have, const void *given, size_t size, size_t needed)
{
    if (!given)
        return DJI_ERROR_SYSTEM_MODULE_CODE_INVALID_PARAMETER;
    void (*member)(void);
    for (size_t at = 0; at < needed; at += sizeof member) {
        memcpy(&member, (const char *)given + at, sizeof member);
        if (!member)
            return DJI_ERROR_SYSTEM_MODULE_CODE_INVALID_PARAMETER;
    }
    memcpy(own, given, size);
    *have = true;
    return DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS;
}

#define TAKE(own, have, given) take(&own, &have, given, sizeof own, sizeof own)

T_DjiReturnCode DjiPlatform_RegOsalHandler(const T_DjiOsalHandler *osalHandler)
{
    return TAKE(osal_hooks, have_osal, osalHandler);
}

T_DjiReturnCode DjiPlatform_RegHalUartHandler(const T_DjiHalUartHandler *halUartHandler)
{
    /* The device info behind the status is for adapters of newer releases only. */
    size_t needed = offsetof(T_DjiHalUartHandler, UartGetStatus) + sizeof(void (*)(void));
    return take(&uart_hooks, &have_uart, halUartHandler, sizeof uart_hooks, needed);
}

T_DjiReturnCode DjiPlatform_RegHalUsbBulkHandler(const T_DjiHalUsbBulkHandler *halUsbBulkHandler)
{
    return TAKE(usb_hooks, have_usb, halUsbBulkHandler);
}

T_DjiReturnCode DjiPlatform_RegHalNetworkHandler(const T_DjiHalNetworkHandler *halNetworkHandler)
{
    return TAKE(network_hooks, have_network, halNetworkHandler);
}

T_DjiReturnCode DjiPlatform_RegFileSystemHandler(const T_DjiFileSystemHandler *fileSystemHandler)
{
    return TAKE(file_hooks, have_files, fileSystemHandler);
}

T_DjiReturnCode DjiPlatform_RegSocketHandler(const T_DjiSocketHandler *socketHandler)
{
    return TAKE(socket_hooks, have_sockets, socketHandler);
}

T_DjiOsalHandler *DjiPlatform_GetOsalHandler(void)
{
    return have_osal ? &osal_hooks : NULL;
}

T_DjiHalUartHandler *stand_in_uart(void)
{
    return have_uart ? &uart_hooks : NULL;
}

T_DjiHalUsbBulkHandler *DjiPlatform_GetHalUsbBulkHandler(void)
{
    return have_usb ? &usb_hooks : NULL;
}

T_DjiHalNetworkHandler *DjiPlatform_GetHalNetworkHandler(void)
{
    return have_network ? &network_hooks : NULL;
}

T_DjiFileSystemHandler *DjiPlatform_GetFileSystemHandler(void)
{
    return have_files ? &file_hooks : NULL;
}

T_DjiSocketHandler *DjiPlatform_GetSocketHandler(void)
{
    return have_sockets ? &socket_hooks : NULL;
}
