/* LINK=serial: the aircraft at a serial port, and nothing else. */
#include "app.h"
#include "uart.h"

T_DjiReturnCode link_register(const struct options *options)
{
    return uart_register(options->device);
}

bool link_is_lost(void)
{
    return uart_is_lost();
}
