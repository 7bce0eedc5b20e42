/* Sockets, for the vendor's library. */
#ifndef PSDK_APP_SOCKETS_H
#define PSDK_APP_SOCKETS_H

#include "dji_platform.h"

T_DjiReturnCode sockets_register(void);

#endif
