/* The outputs of a computer in front of a process that believes in them, by LD_PRELOAD: a GPIO chip (the requests and structures are
 * those of the kernel's own header), and RTS and DTR of a serial port. What they are set to resets the simulated chip.
 *
 * LINES_SOCKET   the simulated chip's control socket
 * LINES_LOG      what happens, a line each
 * LINES_BOOT0    the output that is wired to BOOT0, active high: a number, or a bit of TIOCM_
 * LINES_RESET    the same for NRST: of a GPIO chip active low, of a port active high
 * LINES_PORT     the port whose lines these are; without it, /dev/gpiochip7 is there
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/gpio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CHIP "/dev/gpiochip7"

static int chip = -1, lines = -1, port = -1;
static int offsets[2];
static int boot0, reset_active;

static void note(const char *format, ...) {
    va_list arguments;
    FILE *log = fopen(getenv("LINES_LOG"), "a");
    va_start(arguments, format);
    vfprintf(log, format, arguments);
    va_end(arguments);
    fclose(log);
}

/* NRST is let go: the chip starts as BOOT0 is then. */
static void starts(void) {
    char answer[64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int control = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, getenv("LINES_SOCKET"), sizeof address.sun_path - 1);
    if (connect(control, (struct sockaddr *)&address, sizeof address) || dprintf(control, "reset %d\n", boot0) < 0 ||
        read(control, answer, sizeof answer) < 0)
        abort();
    close(control);
}

static void sees(int new_boot0, int new_reset) {
    if (new_boot0 == boot0 && new_reset == reset_active)
        return;
    note("boot0 %d reset %d\n", new_boot0, new_reset);
    boot0 = new_boot0;
    int let_go = reset_active && !new_reset;
    reset_active = new_reset;
    if (let_go)
        starts();
}

static int named(const char *name) { return atoi(getenv(name)); }

static void sees_values(__u64 mask, __u64 bits) {
    int now[2] = {boot0, !reset_active}, which[2] = {named("LINES_BOOT0"), named("LINES_RESET")};
    for (int pin = 0; pin < 2; pin++)
        for (int line = 0; line < 2; line++)
            if (offsets[line] == which[pin] && mask >> line & 1)
                now[pin] = bits >> line & 1;
    sees(now[0], !now[1]);
}

static int request_lines(struct gpio_v2_line_request *wanted) {
    __u64 values = 0, valued = 0;
    for (__u32 nth = 0; nth < wanted->config.num_attrs; nth++)
        if (wanted->config.attrs[nth].attr.id == GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES) {
            values = wanted->config.attrs[nth].attr.values;
            valued = wanted->config.attrs[nth].mask;
        }
    if (wanted->num_lines != 2 || valued != 3)
        return errno = EINVAL, -1;
    for (int line = 0; line < 2; line++)
        offsets[line] = wanted->offsets[line];
    note("requested %d and %d by %s, flags %#llx\n", offsets[0], offsets[1], wanted->consumer, (unsigned long long)wanted->config.flags);
    wanted->fd = lines = memfd_create("lines", MFD_CLOEXEC);
    sees_values(3, values);
    return 0;
}

static int of_gpio(int descriptor, unsigned long request, void *argument) {
    if (descriptor == chip && request == GPIO_GET_CHIPINFO_IOCTL) {
        struct gpiochip_info info = {.name = "gpiochip7", .label = "simulated", .lines = 32};
        memcpy(argument, &info, sizeof info);
        return 0;
    }
    if (descriptor == chip && request == GPIO_V2_GET_LINEINFO_IOCTL) {
        struct gpio_v2_line_info *info = argument;
        info->num_attrs = 0;
        info->flags = GPIO_V2_LINE_FLAG_INPUT;
        return 0;
    }
    if (descriptor == chip && request == GPIO_V2_GET_LINE_IOCTL)
        return request_lines(argument);
    if (descriptor == lines && request == GPIO_V2_LINE_SET_VALUES_IOCTL) {
        struct gpio_v2_line_values *values = argument;
        sees_values(values->mask, values->bits);
        return 0;
    }
    note("unknown request %#lx\n", request);
    return errno = EINVAL, -1;
}

static void sees_modem(int bits) { sees(!!(bits & named("LINES_BOOT0")), !!(bits & named("LINES_RESET"))); }

static int of_port(unsigned long request, void *argument) {
    static int bits;
    if (request == TIOCMBIS)
        bits |= *(int *)argument;
    else if (request == TIOCMBIC)
        bits &= ~*(int *)argument;
    else if (request == TIOCMSET)
        bits = *(int *)argument;
    else
        *(int *)argument = bits;
    sees_modem(bits);
    return 0;
}

int ioctl(int descriptor, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (descriptor >= 0 && (descriptor == chip || descriptor == lines))
        return of_gpio(descriptor, request, argument);
    if (descriptor >= 0 && descriptor == port &&
        (request == TIOCMBIS || request == TIOCMBIC || request == TIOCMSET || request == TIOCMGET))
        return of_port(request, argument);
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return real(descriptor, request, argument);
}

static int opens(const char *path, int flags, int mode) {
    const char *wired = getenv("LINES_PORT");
    if (!wired && strcmp(path, CHIP) == 0)
        return chip = memfd_create("chip", MFD_CLOEXEC);
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    int opened = real(path, flags, mode);
    if (wired && opened >= 0 && strcmp(path, wired) == 0) {
        int raised = TIOCM_RTS | TIOCM_DTR;
        port = opened;
        of_port(TIOCMSET, &raised); /* as the kernel does */
    }
    return opened;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    return opens(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    return opens(path, flags, mode);
}

int close(int descriptor) {
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    if (descriptor >= 0 && descriptor == port) {
        int lowered = 0;
        of_port(TIOCMSET, &lowered); /* as the kernel does */
        port = -1;
    }
    return real(descriptor);
}

char *realpath(const char *path, char *resolved) {
    char *(*real)(const char *, char *) = dlsym(RTLD_NEXT, "realpath");
    return strcmp(path, CHIP) == 0 ? strdup(CHIP) : real(path, resolved);
}
