/*
 * The qemu-user of Debian 12 does not know the ioctls TCGETS2 and TCSETS2, by which a serial port gets any rate. Loaded before the
 * C library, this makes them of those that it knows. What is lost is the rate, which means nothing on a pseudo-terminal.
 */
#define _GNU_SOURCE
#include <asm/termbits.h>
#include <asm/ioctls.h>
#include <dlfcn.h>
#include <stdarg.h>

static speed_t rate = 115200;

int ioctl(int fd, unsigned long request, ...)
{
    int (*next)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);

    struct termios2 *modes = argument;
    if (request == TCGETS2) {
        int result = next(fd, TCGETS, argument);
        modes->c_cflag = (modes->c_cflag & ~CBAUD) | BOTHER;
        modes->c_ispeed = modes->c_ospeed = rate;
        return result;
    }
    if (request == TCSETS2 || request == TCSETSW2 || request == TCSETSF2) {
        struct termios2 known = *modes;
        rate = modes->c_ospeed;
        known.c_cflag = (known.c_cflag & ~CBAUD) | B38400;
        return next(fd, request - TCSETS2 + TCSETS, &known);
    }
    return next(fd, request, argument);
}
