/* The stand-in for the vendor's library: its core. Names and layouts are the vendor's
 * (docs/wire/vendor-library.md), everything else is ours. */
#ifndef DJI_CORE_H
#define DJI_CORE_H

#include "dji_platform.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char appName[32];
    char appId[16];
    char appKey[32];
    char appLicense[512];
    char developerAccount[64];
    char baudRate[7];
} T_DjiUserInfo;

T_DjiReturnCode DjiCore_Init(const T_DjiUserInfo *userInfo);
T_DjiReturnCode DjiCore_SetAlias(const char *productAlias);
T_DjiReturnCode DjiCore_SetFirmwareVersion(T_DjiFirmwareVersion version);
T_DjiReturnCode DjiCore_SetSerialNumber(const char *productSerialNumber);
T_DjiReturnCode DjiCore_ApplicationStart(void);
T_DjiReturnCode DjiCore_DeInit(void);

#ifdef __cplusplus
}
#endif

#endif
