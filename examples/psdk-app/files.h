/* The file system, for the vendor's library. */
#ifndef PSDK_APP_FILES_H
#define PSDK_APP_FILES_H

#include "dji_platform.h"

T_DjiReturnCode files_register(void);

#endif
