#include "uart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define OK DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS
#define FAILED DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR

/* The library reads without a pause while it looks for the aircraft: the wait leaves the processor
 * to others. */
#define READ_WAIT_MS 1
/* The longest frame takes 90 ms at 115200 baud. */
#define WRITE_WAIT_MS 1000

static const char *path;
static atomic_bool lost;

bool uart_is_lost(void)
{
    return lost;
}

static T_DjiReturnCode lose(void)
{
    lost = true;
    return FAILED;
}

static T_DjiUartHandle handle_of(int port)
{
    return (T_DjiUartHandle)(intptr_t)port;
}

static int port_of(T_DjiUartHandle handle)
{
    return (int)(intptr_t)handle;
}

static speed_t speed_of(uint32_t rate)
{
    switch (rate) {
    case 115200:
        return B115200;
    case 230400:
        return B230400;
    case 460800:
        return B460800;
    case 921600:
        return B921600;
    case 1000000:
        return B1000000;
    default:
        return B0;
    }
}

static bool set_up(int port, speed_t speed)
{
    struct termios settings;
    if (speed == B0 || tcgetattr(port, &settings) != 0)
        return false;
    cfmakeraw(&settings);
    settings.c_cflag |= CLOCAL | CREAD;
    settings.c_cflag &= ~(tcflag_t)(CSTOPB | CRTSCTS);
    settings.c_cc[VMIN] = 1; /* so that a read of 0 bytes is a port that is gone */
    settings.c_cc[VTIME] = 0;
    return cfsetspeed(&settings, speed) == 0 && tcsetattr(port, TCSANOW, &settings) == 0;
}

static T_DjiReturnCode uart_open(E_DjiHalUartNum number, uint32_t rate, T_DjiUartHandle *handle)
{
    if (number != DJI_HAL_UART_NUM_0)
        return DJI_ERROR_SYSTEM_MODULE_CODE_NONSUPPORT;
    int port = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (port >= 0 && set_up(port, speed_of(rate))) {
        *handle = handle_of(port);
        return OK;
    }
    fprintf(stderr, "<3>%s at %u baud: %s\n", path, (unsigned)rate, strerror(errno));
    if (port >= 0)
        close(port);
    return FAILED;
}

static T_DjiReturnCode uart_close(T_DjiUartHandle handle)
{
    return close(port_of(handle)) == 0 ? OK : FAILED;
}

static short wait_for(int port, short what, int ms)
{
    struct pollfd wanted = {.fd = port, .events = what};
    return poll(&wanted, 1, ms) > 0 ? wanted.revents : 0;
}

/* A frame goes out whole or is an error. */
static T_DjiReturnCode uart_write(T_DjiUartHandle handle, const uint8_t *bytes, uint32_t length,
                                  uint32_t *written)
{
    *written = 0;
    while (*written < length) {
        ssize_t count = write(port_of(handle), bytes + *written, length - *written);
        if (count > 0)
            *written += (uint32_t)count;
        else if (count < 0 && errno == EAGAIN) {
            if (!(wait_for(port_of(handle), POLLOUT, WRITE_WAIT_MS) & POLLOUT))
                return FAILED;
        } else if (count == 0 || errno != EINTR)
            return lose();
    }
    return OK;
}

static T_DjiReturnCode uart_read(T_DjiUartHandle handle, uint8_t *bytes, uint32_t length,
                                 uint32_t *count)
{
    *count = 0;
    if (!wait_for(port_of(handle), POLLIN, READ_WAIT_MS))
        return OK;
    ssize_t got = read(port_of(handle), bytes, length);
    if (got > 0)
        *count = (uint32_t)got;
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        return lose();
    return OK;
}

static T_DjiReturnCode uart_status(E_DjiHalUartNum number, T_DjiUartStatus *status)
{
    status->isConnect = number == DJI_HAL_UART_NUM_0 && !lost && access(path, R_OK | W_OK) == 0;
    return OK;
}

#ifdef HAVE_UART_DEVICE_INFO
/* For the E-Port V2 ribbon cable alone, where the library wants to know the adapter. */
static T_DjiReturnCode uart_device_info(T_DjiHalUartDeviceInfo *info)
{
    info->vid = 0;
    info->pid = 0;
    return DJI_ERROR_SYSTEM_MODULE_CODE_NONSUPPORT;
}
#endif

void uart_await(void)
{
    if (access(path, R_OK | W_OK) == 0)
        return;
    fprintf(stderr, "<4>%s: %s; waiting for it\n", path, strerror(errno));
    while (access(path, R_OK | W_OK) != 0)
        nanosleep(&(struct timespec){.tv_nsec = 200 * 1000000}, NULL);
}

T_DjiReturnCode uart_register(const char *device)
{
    static const T_DjiHalUartHandler handler = {
        .UartInit = uart_open,
        .UartDeInit = uart_close,
        .UartWriteData = uart_write,
        .UartReadData = uart_read,
        .UartGetStatus = uart_status,
#ifdef HAVE_UART_DEVICE_INFO
        .UartGetDeviceInfo = uart_device_info,
#endif
    };
    path = device;
    return DjiPlatform_RegHalUartHandler(&handler);
}
