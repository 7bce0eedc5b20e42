/* The stand-in for the vendor's library: where its log lines go. Names and layouts are the vendor's
 * (docs/wire/vendor-library.md), everything else is ours. */
#ifndef DJI_LOGGER_H
#define DJI_LOGGER_H

#include "dji_platform.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef T_DjiReturnCode (*ConsoleFunc)(const uint8_t *data, uint16_t dataLen);

typedef enum {
    DJI_LOGGER_CONSOLE_LOG_LEVEL_ERROR = 0,
    DJI_LOGGER_CONSOLE_LOG_LEVEL_WARN = 1,
    DJI_LOGGER_CONSOLE_LOG_LEVEL_INFO = 2,
    DJI_LOGGER_CONSOLE_LOG_LEVEL_DEBUG = 3
} E_DjiLoggerConsoleLogLevel;

typedef struct {
    ConsoleFunc func;
    uint8_t consoleLevel;
    bool isSupportColor;
} T_DjiLoggerConsole;

T_DjiReturnCode DjiLogger_AddConsole(T_DjiLoggerConsole *console);
T_DjiReturnCode DjiLogger_RemoveConsole(T_DjiLoggerConsole *console);
void DjiLogger_UserLogOutput(E_DjiLoggerConsoleLogLevel level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif

#endif
