/* LINK=serial: the aircraft at a serial port, and nothing else. */
#include "app.h"
#include "uart.h"

T_DjiReturnCode link_register(const struct options *options)
{
    if (options->device)
        return uart_register(options->device);
    say(3, "--device is missing");
    return DJI_ERROR_SYSTEM_MODULE_CODE_INVALID_PARAMETER;
}

bool link_is_lost(void)
{
    return uart_is_lost();
}
