#include "host.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

const char *story;
atomic_int failures;

void check(bool holds, int line_number, const char *what)
{
    if (holds)
        return;
    failures++;
    fprintf(stderr, "%s: line %d: %s\n", story, line_number, what);
}

double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1000 + (double)now.tv_nsec / 1e6;
}

void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* ---- the line ---- */

static int line[2]; /* the host's end, the library's */
atomic_uint host_rate;
atomic_bool host_cannot_open;

void host_make_line(void)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, line) == 0);
}

static T_DjiReturnCode uart_open(E_DjiHalUartNum number, uint32_t wanted, T_DjiUartHandle *handle)
{
    (void)number;
    host_rate = wanted;
    *handle = &line;
    return host_cannot_open ? EC : OK;
}

static T_DjiReturnCode uart_close(T_DjiUartHandle handle)
{
    return handle == &line ? OK : EC;
}

static T_DjiReturnCode uart_write(T_DjiUartHandle handle, const uint8_t *bytes, uint32_t length,
                                  uint32_t *written)
{
    (void)handle;
    /* In two pieces, as a driver may: nothing of another frame may come between. */
    ssize_t first = send(line[1], bytes, length / 2, 0);
    sched_yield();
    ssize_t rest = send(line[1], bytes + length / 2, length - length / 2, 0);
    *written = first >= 0 && rest >= 0 ? (uint32_t)(first + rest) : 0;
    return *written == length ? OK : EC;
}

static T_DjiReturnCode uart_read(T_DjiUartHandle handle, uint8_t *bytes, uint32_t length,
                                 uint32_t *count)
{
    (void)handle;
    struct pollfd wanted = {.fd = line[1], .events = POLLIN};
    ssize_t got = poll(&wanted, 1, 1) > 0 ? recv(line[1], bytes, length, 0) : 0;
    *count = got > 0 ? (uint32_t)got : 0;
    return OK;
}

static T_DjiReturnCode uart_status(E_DjiHalUartNum number, T_DjiUartStatus *status)
{
    (void)number;
    status->isConnect = true;
    return OK;
}

const T_DjiHalUartHandler host_line_hooks = {
    .UartInit = uart_open,
    .UartDeInit = uart_close,
    .UartWriteData = uart_write,
    .UartReadData = uart_read,
    .UartGetStatus = uart_status,
};

static T_DjiReturnCode bulk_open(T_DjiHalUsbBulkInfo info, T_DjiUsbBulkHandle *handle)
{
    CHECK(info.channelInfo.interfaceNum == 7);
    *handle = &line;
    return OK;
}

static T_DjiReturnCode bulk_info(T_DjiHalUsbBulkDeviceInfo *info)
{
    *info = (T_DjiHalUsbBulkDeviceInfo){.channelInfo = {{.interfaceNum = 7}, {.interfaceNum = 8}}};
    return OK;
}

const T_DjiHalUsbBulkHandler host_bulk_hooks = {
    .UsbBulkInit = bulk_open,
    .UsbBulkDeInit = uart_close,
    .UsbBulkWriteData = uart_write,
    .UsbBulkReadData = uart_read,
    .UsbBulkGetDeviceInfo = bulk_info,
};

/* ---- the host ---- */

static struct wire_inbox inbox;
uint8_t payload_address;
static uint16_t sequence = 100;

bool hear(struct wire_frame *frame, double until)
{
    while (!wire_next(&inbox, frame)) {
        size_t room;
        uint8_t *at = wire_room(&inbox, &room);
        struct pollfd wanted = {.fd = line[0], .events = POLLIN};
        double left = until - now_ms();
        if (poll(&wanted, 1, left > 0 ? (int)left + 1 : 0) > 0) {
            ssize_t got = recv(line[0], at, room, 0);
            inbox.count += got > 0 ? (size_t)got : 0;
        } else if (left <= 0) {
            return false;
        }
    }
    return true;
}

void say(const struct wire_frame *frame)
{
    uint8_t bytes[WIRE_LONGEST];
    size_t length = wire_encode(frame, bytes);
    CHECK(send(line[0], bytes, length, 0) == (ssize_t)length);
}

struct wire_frame request(uint8_t id, const void *bytes, size_t length)
{
    struct wire_frame frame = {
        .sender = 0x2A,
        .receiver = payload_address,
        .sequence = ++sequence,
        .flags = WIRE_REQUEST,
        .id = id,
        .length = (uint16_t)length,
    };
    if (length > 0)
        memcpy(frame.payload, bytes, length);
    return frame;
}

bool hear_answer(const struct wire_frame *asked, struct wire_frame *answer, long ms)
{
    double until = now_ms() + (double)ms;
    while (hear(answer, until))
        if (answer->flags & WIRE_ANSWER && answer->sequence == asked->sequence &&
            answer->sender == asked->receiver && answer->receiver == asked->sender &&
            answer->set == asked->set && answer->id == asked->id)
            return true;
    return false;
}

/* The answer's length, or -1 where none comes soon. */
static int ask(uint8_t id, const void *bytes, size_t length, uint8_t answer[WIRE_LONGEST_PAYLOAD])
{
    struct wire_frame asked = request(id, bytes, length), got;
    say(&asked);
    if (!hear_answer(&asked, &got, SOON))
        return -1;
    memcpy(answer, got.payload, got.length);
    return got.length;
}

bool answers(uint8_t id, const void *bytes, size_t length, const void *wanted, int count)
{
    uint8_t answer[WIRE_LONGEST_PAYLOAD];
    return ask(id, bytes, length, answer) == count && memcmp(answer, wanted, (size_t)count) == 0;
}

bool is_silent(uint8_t id, const void *bytes, size_t length)
{
    uint8_t answer[WIRE_LONGEST_PAYLOAD];
    return ask(id, bytes, length, answer) < 0;
}

bool tells_version(uint8_t major, uint8_t minor, uint8_t modify, uint8_t debug)
{
    return ANSWERS(0x4F, BYTES(4), 0, 4, 0, 0, 0, 0, 0, 0, 0, debug, modify, minor, major);
}

bool hear_push(uint8_t to, uint8_t id, struct wire_frame *push, long ms)
{
    double until = now_ms() + (double)ms;
    while (hear(push, until))
        if (push->flags == WIRE_PUSH && push->receiver == to && push->id == id)
            return true;
    return false;
}

void be_aircraft(uint8_t from, uint8_t to, uint8_t type)
{
    struct wire_frame probe;
    double until = now_ms() + 8000;
    while (hear(&probe, until)) {
        CHECK(probe.set == 0x03 && probe.id == 0xFD && probe.length == 0);
        if (probe.sender != from || probe.receiver != to)
            continue;
        probe.sender = to;
        probe.receiver = from;
        probe.flags = WIRE_ANSWER;
        probe.length = 1;
        probe.payload[0] = type;
        say(&probe);
        return;
    }
    CHECK(!"a probe on this route");
}

