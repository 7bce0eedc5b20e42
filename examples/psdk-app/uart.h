/* The serial port of the aircraft, for the vendor's library. */
#ifndef PSDK_APP_UART_H
#define PSDK_APP_UART_H

#include "dji_platform.h"

#include <stdbool.h>

/* `device` is its path, and stays the caller's. The library opens it, at each rate that it tries. */
T_DjiReturnCode uart_register(const char *device);

/* Waits until the port is there: the library tries once, and an adapter may come later. */
void uart_await(void);

/* Whether the port was there and is gone: an adapter that was pulled out. It does not come back. */
bool uart_is_lost(void);

#endif
