/* What the vendor's library asks of an operating system, for Linux. */
#ifndef PSDK_APP_OSAL_H
#define PSDK_APP_OSAL_H

#include "dji_platform.h"

T_DjiReturnCode osal_register(void);

#endif
