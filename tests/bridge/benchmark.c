/* What a chunk costs the library's thread, beside a bare send of as many bytes on a UNIX socket to
 * a process that reads: in turn, in one run. Prints the median, the mean and 99.9 % of both. benchmark
 * [ROUNDS [BYTES OF A CHUNK [PAUSE BETWEEN TWO IN US]]] */

#include "uplift_psdk.c"

#include <stdlib.h>

#include "no_library.h"

T_DjiReturnCode DjiUpgrade_PushUpgradeState(const T_DjiUpgradeState *state)
{
    (void)state;
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void must(int good, const char *what)
{
    if (!good) {
        perror(what);
        _exit(1);
    }
}

static int read_exactly(int fd, uint8_t *bytes, size_t count)
{
    size_t done = 0;

    while (done < count) {
        const ssize_t part = read(fd, bytes + done, count - done);

        if (part <= 0) {
            return 0;
        }
        done += (size_t)part;
    }
    return 1;
}

static void answer(int fd, uint8_t kind, uint8_t number, const void *body, uint8_t length)
{
    uint8_t bytes[32] = { kind, number, length, 0 };

    memcpy(bytes + 4, body, length);
    must(write(fd, bytes, 4U + length) == 4 + length, "answer");
}

/* A daemon that takes everything and confirms each chunk. */
static void serve(int listener)
{
    static uint8_t bytes[4100];
    const int fd = accept(listener, NULL, NULL);
    uint8_t head[4];

    while (read_exactly(fd, head, 4) && read_exactly(fd, bytes, get16(head + 2))) {
        if (head[0] == KIND_HELLO) {
            answer(fd, KIND_WELCOME, head[1], "\1\0\0\1\1\0\0\0\2\25\0", 11);
        } else if (head[0] == KIND_ENTER) {
            answer(fd, KIND_ENTERED, head[1], "\0\0\0", 3);
        } else if (head[0] == KIND_START) {
            answer(fd, KIND_STARTED, head[1], "\0\0\0\0\0", 5);
        } else if (head[0] == KIND_DATA) {
            put32(bytes, get32(bytes) + get16(head + 2) - 4U);
            answer(fd, KIND_WRITTEN, 0, bytes, 4);
        }
    }
    _exit(0);
}

static void sink(int fd)
{
    static uint8_t bytes[65536];

    while (read(fd, bytes, sizeof bytes) > 0) {
    }
    _exit(0);
}

static int listen_at(const char *path)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address;

    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, strlen(path));
    must(bind(fd, (const struct sockaddr *)&address, sizeof address) == 0, "bind");
    must(listen(fd, 4) == 0, "listen");
    return fd;
}

static int compare(const void *one, const void *other)
{
    const uint32_t a = *(const uint32_t *)one;
    const uint32_t b = *(const uint32_t *)other;

    return (a > b) - (a < b);
}

static double show(const char *what, uint32_t *times, uint32_t rounds)
{
    double sum = 0;

    for (uint32_t i = 0; i < rounds; i++) {
        sum += times[i];
    }
    qsort(times, rounds, sizeof *times, compare);
    printf("%-28s median %6.2f us, mean %6.2f us, 99.9 %% %7.2f us\n", what,
           times[rounds / 2U] / 1000.0, sum / rounds / 1000.0,
           times[(uint64_t)rounds * 999U / 1000U] / 1000.0);
    return times[rounds / 2U];
}

/* Neither counts the tries that found no room: a host's next chunk comes later than that. */
static uint32_t time_of_send(int fd, const uint8_t *chunk, size_t size)
{
    uint64_t began = now_ns();

    while (send(fd, chunk, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        poll(NULL, 0, 1);
        began = now_ns();
    }
    return (uint32_t)(now_ns() - began);
}

static uint32_t time_of_transfer(const uint8_t *chunk, uint16_t size)
{
    const T_DjiUpgradeDcftpFileTransferOpt *to = &library.firmwareTransferInfo.dcftpFileTransferOpt;
    uint64_t began = now_ns();

    while (to->transfer(chunk, size) != 0U) {
        poll(NULL, 0, 1);
        began = now_ns();
    }
    return (uint32_t)(now_ns() - began);
}

static void start_bridge(const char *path)
{
    static const T_DjiUpgradeFileInfo file = { 0xFFFFFFFFU, "file" };
    struct uplift_psdk_config config;
    uint16_t wait;

    memset(&config, 0, sizeof config);
    config.socket_path = path;
    must(uplift_psdk_start(&config) == 0U && on_enter(&wait) == 0U && on_start(&file) == 0U,
         "start");
}

int main(int count, char **words)
{
    const uint32_t rounds = count > 1 ? (uint32_t)atoi(words[1]) : 20000U;
    const uint16_t size = count > 2 ? (uint16_t)atoi(words[2]) : 256U;
    const long pause = count > 3 ? atol(words[3]) : 100;
    const struct timespec time = { 0, pause * 1000 };
    uint32_t *bare = (uint32_t *)calloc(rounds, sizeof *bare);
    uint32_t *bridged = (uint32_t *)calloc(rounds, sizeof *bridged);
    uint8_t chunk[4096] = { 1 };
    char path[] = "/tmp/bridge-benchmark.XXXXXX";
    int pair[2];
    int listener;
    double ratio;

    must(bare != NULL && bridged != NULL && size <= sizeof chunk && mkstemp(path) >= 0, "begin");
    must(unlink(path) == 0, "unlink");
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    listener = listen_at(path);
    if (fork() == 0) {
        serve(listener);
    }
    if (fork() == 0) {
        close(pair[0]);
        sink(pair[1]);
    }
    start_bridge(path);
    for (uint32_t i = 0; i < rounds; i++) {
        bare[i] = time_of_send(pair[0], chunk, size);
        if (pause > 0) {
            nanosleep(&time, NULL);
        }
        bridged[i] = time_of_transfer(chunk, size);
        if (pause > 0) {
            nanosleep(&time, NULL);
        }
    }
    unlink(path);
    uplift_psdk_stop();
    ratio = show("a bare send", bare, rounds);
    ratio = show("the callback for a chunk", bridged, rounds) / ratio;
    printf("ratio of the medians %.2f (bar: 3)\n", ratio);
    return 0;
}
