/* The stand-in for the vendor's library: the types that all its parts share. Written from
 * docs/wire/vendor-library.md: names and layouts are the vendor's, everything else is ours. */
#ifndef DJI_TYPEDEF_H
#define DJI_TYPEDEF_H

#include <stdbool.h>
#include <stdint.h>

#include "dji_error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DJI_FILE_NAME_SIZE_MAX 256
#define DJI_FILE_PATH_SIZE_MAX (DJI_FILE_NAME_SIZE_MAX + 256)
#define DJI_IP_ADDR_STR_SIZE_MAX 15
#define DJI_MD5_BUFFER_LEN 16

/* Module number << 32 and raw code; 0 is success. */
typedef uint64_t T_DjiReturnCode;

#pragma pack(1)
typedef struct {
    uint8_t majorVersion;
    uint8_t minorVersion;
    uint8_t modifyVersion;
    uint8_t debugVersion;
} T_DjiFirmwareVersion;
#pragma pack()

#ifdef __cplusplus
}
#endif

#endif
