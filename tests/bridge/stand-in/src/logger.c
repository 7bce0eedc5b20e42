/* Log lines, to the consoles of the application. */
#include "stand_in.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#define MOST_CONSOLES 8

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static T_DjiLoggerConsole consoles[MOST_CONSOLES];
static int count;

T_DjiReturnCode DjiLogger_AddConsole(T_DjiLoggerConsole *console)
{
    if (!console || !console->func)
        return DJI_ERROR_SYSTEM_MODULE_CODE_INVALID_PARAMETER;
    pthread_mutex_lock(&lock);
    bool room = count < MOST_CONSOLES;
    if (room)
        consoles[count++] = *console;
    pthread_mutex_unlock(&lock);
    return room ? DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS : DJI_ERROR_SYSTEM_MODULE_CODE_OUT_OF_RANGE;
}

T_DjiReturnCode DjiLogger_RemoveConsole(T_DjiLoggerConsole *console)
{
    if (!console)
        return DJI_ERROR_SYSTEM_MODULE_CODE_INVALID_PARAMETER;
    T_DjiReturnCode code = DJI_ERROR_SYSTEM_MODULE_CODE_NOT_FOUND;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < count; i++) {
        if (consoles[i].func == console->func) {
            consoles[i] = consoles[--count];
            code = DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return code;
}

void DjiLogger_UserLogOutput(E_DjiLoggerConsoleLogLevel level, const char *fmt, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, fmt);
    int length = vsnprintf(line, sizeof line - 1, fmt, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    if ((size_t)length > sizeof line - 2)
        length = sizeof line - 2;
    line[length++] = '\n';
    pthread_mutex_lock(&lock);
    for (int i = 0; i < count; i++)
        if ((int)level <= consoles[i].consoleLevel)
            consoles[i].func((const uint8_t *)line, (uint16_t)length);
    pthread_mutex_unlock(&lock);
}
