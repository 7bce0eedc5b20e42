/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * See uplift_psdk.h for what an integrator needs.
 *
 * The library calls all callbacks on one thread, answers nobody else meanwhile, and carries out
 * every repetition that it queued. So a callback only notes what the host wants, sends what the
 * socket takes at once, and waits for the daemon for a moment at most. The bridge's own thread
 * connects, reads what the daemon says, and sends what the socket did not take.
 *
 * What is to be sent is not a queue but a state: which requests are unsent, and which bytes of the
 * file. send_next knows their order. Repetitions thus merge while the daemon hangs, and after a
 * reconnection the same state says what has to be said again.
 *
 * One mutex guards everything. It is held neither while the library or the application is called
 * nor over anything that can block.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "uplift_psdk.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <dji_core.h>

/* The versions of the protocol that this file speaks. A test builds other applications by them. */
#ifndef UPLIFT_PSDK_PROTOCOL_LOWEST
#define UPLIFT_PSDK_PROTOCOL_LOWEST 1U
#endif
#ifndef UPLIFT_PSDK_PROTOCOL_HIGHEST
#define UPLIFT_PSDK_PROTOCOL_HIGHEST 1U
#endif

/* So long, and up to DATA_BYTES_MAX, chunks wait for the next ones: a message costs both sides more
 * than a chunk of 256 bytes does. What a host that falls silent has sent last is late by no more
 * than its next word. Tests build applications that hold nothing, and one that holds for ever. */
#ifndef UPLIFT_PSDK_HOLD_MS
#define UPLIFT_PSDK_HOLD_MS 20U
#endif

#define HEAD_BYTES 4U
#define BODY_FROM_DAEMON_MAX 1024U
#define BODY_TO_DAEMON_MAX 4100U
#define DATA_BYTES_MAX 4096U
#define NAME_BYTES_MAX 255U
#define APPLICATION_BYTES_MAX 64U
#define MD5_BYTES 16U

/* Bytes of the file that the daemon has not confirmed are kept for a reconnection. A power of two,
 * so that the place of a byte goes on evenly where its offset wraps. */
#define WINDOW_BYTES 32768U

#define PAUSE_FIRST_MS 100U
#define PAUSE_MAX_MS 2000U
/* Whoever was replaced by another application comes back late: two must not chase each other. */
#define PAUSE_REPLACED_MS 2000U
#define REPLACED_DOUBLINGS_MAX 5U
#define LASTING_MS 1000U
#define LASTING_REPLACED_MS 120000U
#define NOTE_INTERVAL_MS 10000U
#define ANSWER_WAIT_MAX_MS 130U
#define THREAD_STACK_BYTES 24576U

/* Raw codes of the library's system module. */
#define CODE_INVALID_PARAMETER 0xE3U
#define CODE_WRONG_STATE 0xE4U
#define CODE_SYSTEM_ERROR 0xECU
#define CODE_OUT_OF_RANGE 0x101U
#define CODE_BUSY 0x102U
#define CODE_DUPLICATE 0x103U

#define KIND_HELLO 0x01U
#define KIND_STATE 0x02U
#define KIND_ENTER 0x10U
#define KIND_START 0x11U
#define KIND_DATA 0x12U
#define KIND_FINISH 0x13U
#define KIND_CHECK 0x14U
#define KIND_END 0x15U
#define KIND_READY 0x16U
#define KIND_WELCOME 0x81U
#define KIND_VERSION 0x82U
#define KIND_GONE 0x83U
#define KIND_ENTERED 0x90U
#define KIND_STARTED 0x91U
#define KIND_WRITTEN 0x92U
#define KIND_FAILED 0x93U
#define KIND_FINISHED 0x94U
#define KIND_CHECKED 0x95U
#define KIND_PUSH 0xA0U
#define KIND_RESTARTING 0xA1U
#define KIND_REPORT 0xA2U

/* Of WELCOME and ENTER. */
#define TRANSFER_FTP 1U
#define TRANSFER_DCFTP 2U

#define STAGE_NOTHING 0U
#define STAGE_WAITING 1U
#define STAGE_STARTED 2U
#define STAGE_REPORT 3U

#define CHECKED_START_FAILED 2U

#define FACT_INITIALISED 0x01U
#define FACT_AIRCRAFT_SEEN 0x02U

struct md5 {
    uint32_t state[4];
    uint32_t length;
    uint8_t block[64];
};

/* Something that the daemon answers. Open until it has. */
struct request {
    bool open;
    bool unsent;
    uint8_t number;
    uint8_t code;
};

enum step { STEP_IDLE, STEP_ENTERED, STEP_FILE, STEP_COMPLETE, STEP_CHECK };

/* What the host has said, and the file that it sends. Offsets: kept <= sent <= received <= size. */
static struct {
    enum step step;
    /* The daemon refused Enter after the host was told that it may begin. */
    bool refused;
    bool failed;
    /* The daemon has said from where it takes this file. What it said of bytes before that is about
     * another one. */
    bool flowing;
    bool finished;
    uint32_t size;
    uint32_t received;
    uint32_t sent;
    uint32_t kept;
    uint16_t wait_s;
    uint16_t name_length;
    uint8_t name[NAME_BYTES_MAX];
    uint8_t digest[MD5_BYTES];
    uint64_t sent_at_ms;
    struct md5 md5;
    uint8_t window[WINDOW_BYTES];
} job;

static struct request enter_request;
static struct request start_request;
static struct request finish_request;
static struct request check_request;
static uint8_t last_number;
/* Check was called, and Start has a decision to tell. */
static bool check_asked;
/* The host has seen the report. END has no answer, so a daemon that still has it hears it again. */
static bool acknowledged;

/* What is to be said and has no answer. */
static struct {
    bool state;
    bool end;
    bool ready;
    uint8_t ready_number;
} owed;

/* Only the bridge's thread opens and closes the socket. */
static int wire_fd = -1;
static int wake_fd = -1;
static struct {
    bool welcomed;
    bool broken;
    bool try_now;
    uint32_t failed_attempts;
    size_t out_from;
    size_t out_to;
    uint8_t out[HEAD_BYTES + BODY_TO_DAEMON_MAX];
} wire;

/* Of the bridge's thread alone. */
static struct {
    size_t length;
    uint8_t bytes[HEAD_BYTES + BODY_FROM_DAEMON_MAX];
} in;

static struct {
    uint64_t attempt_at;
    uint64_t since;
    uint32_t pause_ms;
    uint32_t replaced;
    bool gone;
    uint32_t random;
} pacing;

static struct {
    struct uplift_psdk_config config;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    uint8_t application_length;
    uint8_t application[APPLICATION_BYTES_MAX];
    bool exists;
    bool running;
    pthread_t thread;
    uint8_t facts;
    /* Told to the library once; whether a second Init would change it is not known. */
    uint8_t transfer;
    uint16_t port;
    uint8_t transfer_that_suits;
    uint16_t port_that_suits;
    /* What the daemon says, and what the library was told. */
    bool version_known;
    T_DjiFirmwareVersion version;
    T_DjiFirmwareVersion told;
    bool has_report;
    struct uplift_psdk_report report;
} bridge;

static pthread_mutex_t mutex;
static pthread_mutex_t control = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_cond_t changed;

/* ---- Small helpers ---- */

static T_DjiReturnCode failure(uint32_t raw)
{
    return (T_DjiReturnCode)raw;
}

static bool succeeded(T_DjiReturnCode code)
{
    return (uint32_t)code == 0U;
}

static uint16_t get16(const uint8_t *from)
{
    return (uint16_t)((uint32_t)from[0] | ((uint32_t)from[1] << 8));
}

static uint32_t get32(const uint8_t *from)
{
    return (uint32_t)get16(from) | ((uint32_t)get16(from + 2) << 16);
}

static void put16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value & 0xFFU);
    to[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *to, uint32_t value)
{
    put16(to, (uint16_t)(value & 0xFFFFU));
    put16(to + 2, (uint16_t)(value >> 16));
}

static uint32_t at_most(uint32_t value, uint32_t limit)
{
    return value < limit ? value : limit;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

static struct timespec in_ms(uint32_t ms)
{
    struct timespec then;

    (void)clock_gettime(CLOCK_MONOTONIC, &then);
    then.tv_sec += (time_t)(ms / 1000U);
    then.tv_nsec += (long)(ms % 1000U) * 1000000L;
    if (then.tv_nsec >= 1000000000L) {
        then.tv_sec += 1;
        then.tv_nsec -= 1000000000L;
    }
    return then;
}

/* Whether and how a thread can be ended, before it was kept from it. */
struct cancellation {
    int state;
    int type;
};

/* The sample's threads are ended by pthread_cancel, at any instruction. Whoever held the mutex then
 * would keep it. The type, too: glibc 2.36 ends a thread of the asynchronous kind though its state
 * forbids it by now, where the word was on its way. */
static struct cancellation forbid_cancellation(void)
{
    struct cancellation before = { PTHREAD_CANCEL_ENABLE, PTHREAD_CANCEL_DEFERRED };

    (void)pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &before.type);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before.state);
    return before;
}

static void allow_cancellation(struct cancellation before)
{
    (void)pthread_setcancelstate(before.state, NULL);
    (void)pthread_setcanceltype(before.type, NULL);
}

static void prepare_once(void)
{
    pthread_condattr_t condition;
    pthread_mutexattr_t robust;

    (void)pthread_condattr_init(&condition);
    (void)pthread_condattr_setclock(&condition, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&changed, &condition);
    (void)pthread_condattr_destroy(&condition);
    (void)pthread_mutexattr_init(&robust);
    (void)pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    (void)pthread_mutex_init(&mutex, &robust);
    (void)pthread_mutexattr_destroy(&robust);
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* The mutex of a thread that was ended all the same. What it left half done is a file whose MD5 is
 * wrong at worst. */
static void inherit(int code)
{
    if (code == EOWNERDEAD) {
        (void)pthread_mutex_consistent(&mutex);
    }
}

static struct cancellation lock(void)
{
    const struct cancellation before = forbid_cancellation();

    (void)pthread_once(&once, prepare_once);
    inherit(pthread_mutex_lock(&mutex));
    return before;
}

static void unlock(struct cancellation before)
{
    (void)pthread_mutex_unlock(&mutex);
    allow_cancellation(before);
}

static void release(void *unused)
{
    (void)unused;
    (void)pthread_mutex_unlock(&mutex);
}

/* False when it is too late. glibc makes the thread of the asynchronous kind for the wait, and then
 * ends it by the same word: a thread that ends in here has the mutex again by then. */
static bool wait_until(const struct timespec *deadline)
{
    int code;

    pthread_cleanup_push(release, NULL);
    code = pthread_cond_timedwait(&changed, &mutex, deadline);
    pthread_cleanup_pop(0);
    inherit(code);
    return code == 0 || code == EOWNERDEAD;
}

static void wake(void)
{
    const uint64_t one = 1;

    (void)!write(wake_fd, &one, sizeof one);
}

/* ---- Log lines ---- */

/* A callback can't log: the application's function may be slow and want more stack than there is.
 * It leaves a note, and the bridge's thread tells it. */
enum note {
    NOTE_CONNECTED,
    NOTE_AWAY,
    NOTE_LOST,
    NOTE_DAMAGED,
    NOTE_VERSIONS,
    NOTE_ENTER_REFUSED,
    NOTE_START_REFUSED,
    NOTE_RECEPTION_FAILED,
    NOTE_UPGRADE_LOST,
    NOTE_WINDOW_FULL,
    NOTE_TOO_MANY_BYTES,
    NOTE_WRONG_FILE,
    NOTE_FINISH_REFUSED,
    NOTE_CHECK_FAILED,
    NOTE_INIT_FAILED,
    NOTE_SET_VERSION_FAILED,
    NOTE_PUSH_FAILED,
    NOTES
};

static const struct {
    enum uplift_psdk_level level;
    const char *line;
} note_texts[NOTES] = {
    { UPLIFT_PSDK_INFO, "The daemon is connected" },
    { UPLIFT_PSDK_WARNING, "The daemon can't be reached; upgrades wait for it" },
    { UPLIFT_PSDK_WARNING, "The connection to the daemon is lost" },
    { UPLIFT_PSDK_ERROR, "The daemon sent a damaged message" },
    { UPLIFT_PSDK_ERROR, "The daemon chose a version of the protocol that was not offered" },
    { UPLIFT_PSDK_WARNING, "The daemon takes no upgrade now" },
    { UPLIFT_PSDK_WARNING, "The daemon does not take this file now" },
    { UPLIFT_PSDK_WARNING, "The host must send the file again" },
    { UPLIFT_PSDK_WARNING, "The daemon was restarted and has forgotten the upgrade" },
    { UPLIFT_PSDK_WARNING, "The daemon is slower than the host; the host must repeat a chunk" },
    { UPLIFT_PSDK_WARNING, "The host sends more bytes than it announced" },
    { UPLIFT_PSDK_WARNING, "The size or the MD5 of the file is not the announced one" },
    { UPLIFT_PSDK_WARNING, "The daemon found the size or the MD5 of the file wrong" },
    { UPLIFT_PSDK_WARNING, "The upgrade failed at its check or start" },
    { UPLIFT_PSDK_ERROR, "The library did not take the upgrade module's configuration" },
    { UPLIFT_PSDK_WARNING, "The library did not take the firmware's version" },
    { UPLIFT_PSDK_WARNING, "The library did not push the upgrade's state" },
};

static struct {
    uint32_t count;
    uint64_t said_at;
} notes[NOTES];

static void leave_note(enum note which)
{
    notes[which].count++;
    wake();
}

/* The same for whoever does not hold the mutex. */
static void leave_note_alone(enum note which)
{
    const struct cancellation cancel = lock();

    leave_note(which);
    unlock(cancel);
}

static void say(enum uplift_psdk_level level, const char *line)
{
    if (bridge.config.log != NULL) {
        bridge.config.log(bridge.config.context, level, line);
    }
}

/* Copies the daemon's text so that it is one line, whole characters and terminated. */
static void copy_text(char *to, size_t room, const uint8_t *text, size_t length)
{
    size_t end = length < room - 1U ? length : room - 1U;

    while (end < length && end > 0U && (text[end] & 0xC0U) == 0x80U) {
        end--;
    }
    for (size_t i = 0; i < end; i++) {
        to[i] = text[i] < 0x20U || text[i] == 0x7FU ? '?' : (char)text[i];
    }
    to[end] = '\0';
}

static void say_text(enum uplift_psdk_level level, const char *what, const uint8_t *text,
                     size_t length)
{
    char said[160];
    char line[256];

    copy_text(said, sizeof said, text, length);
    (void)snprintf(line, sizeof line, "%s: %s", what, said);
    say(level, line);
}

static uint32_t take_note(size_t which)
{
    const struct cancellation cancel = lock();
    const uint64_t now = now_ms();
    const bool due = notes[which].said_at == 0U || now - notes[which].said_at >= NOTE_INTERVAL_MS;
    const uint32_t count = due ? notes[which].count : 0U;

    if (count > 0U) {
        notes[which].count = 0;
        notes[which].said_at = now;
    }
    unlock(cancel);
    return count;
}

static void say_notes(void)
{
    char line[128];

    for (size_t i = 0; i < (size_t)NOTES; i++) {
        const uint32_t count = take_note(i);

        if (count == 1U) {
            say(note_texts[i].level, note_texts[i].line);
        } else if (count > 1U) {
            (void)snprintf(line, sizeof line, "%s (%lu times)", note_texts[i].line,
                           (unsigned long)count);
            say(note_texts[i].level, line);
        }
    }
}

/* ---- MD5 (RFC 1321) ---- */

static const uint32_t md5_sines[64] = {
    0xd76aa478U, 0xe8c7b756U, 0x242070dbU, 0xc1bdceeeU, 0xf57c0fafU, 0x4787c62aU, 0xa8304613U,
    0xfd469501U, 0x698098d8U, 0x8b44f7afU, 0xffff5bb1U, 0x895cd7beU, 0x6b901122U, 0xfd987193U,
    0xa679438eU, 0x49b40821U, 0xf61e2562U, 0xc040b340U, 0x265e5a51U, 0xe9b6c7aaU, 0xd62f105dU,
    0x02441453U, 0xd8a1e681U, 0xe7d3fbc8U, 0x21e1cde6U, 0xc33707d6U, 0xf4d50d87U, 0x455a14edU,
    0xa9e3e905U, 0xfcefa3f8U, 0x676f02d9U, 0x8d2a4c8aU, 0xfffa3942U, 0x8771f681U, 0x6d9d6122U,
    0xfde5380cU, 0xa4beea44U, 0x4bdecfa9U, 0xf6bb4b60U, 0xbebfbc70U, 0x289b7ec6U, 0xeaa127faU,
    0xd4ef3085U, 0x04881d05U, 0xd9d4d039U, 0xe6db99e5U, 0x1fa27cf8U, 0xc4ac5665U, 0xf4292244U,
    0x432aff97U, 0xab9423a7U, 0xfc93a039U, 0x655b59c3U, 0x8f0ccc92U, 0xffeff47dU, 0x85845dd1U,
    0x6fa87e4fU, 0xfe2ce6e0U, 0xa3014314U, 0x4e0811a1U, 0xf7537e82U, 0xbd3af235U, 0x2ad7d2bbU,
    0xeb86d391U,
};
static const uint8_t md5_turns[4][4] = {
    { 7, 12, 17, 22 },
    { 5, 9, 14, 20 },
    { 4, 11, 16, 23 },
    { 6, 10, 15, 21 },
};

static void md5_begin(struct md5 *md5)
{
    md5->state[0] = 0x67452301U;
    md5->state[1] = 0xefcdab89U;
    md5->state[2] = 0x98badcfeU;
    md5->state[3] = 0x10325476U;
    md5->length = 0;
}

static void md5_mix(struct md5 *md5)
{
    uint32_t a = md5->state[0];
    uint32_t b = md5->state[1];
    uint32_t c = md5->state[2];
    uint32_t d = md5->state[3];

    for (uint32_t i = 0; i < 64U; i++) {
        const uint32_t round = i / 16U;
        const uint32_t turn = md5_turns[round][i % 4U];
        uint32_t word = i;
        uint32_t f = d ^ (b & (c ^ d));

        if (round == 1U) {
            f = c ^ (d & (b ^ c));
            word = 5U * i + 1U;
        } else if (round == 2U) {
            f = b ^ c ^ d;
            word = 3U * i + 5U;
        } else if (round == 3U) {
            f = c ^ (b | ~d);
            word = 7U * i;
        }
        f += a + md5_sines[i] + get32(md5->block + 4U * (word % 16U));
        a = d;
        d = c;
        c = b;
        b += (f << turn) | (f >> (32U - turn));
    }
    md5->state[0] += a;
    md5->state[1] += b;
    md5->state[2] += c;
    md5->state[3] += d;
}

static void md5_add(struct md5 *md5, const uint8_t *bytes, uint32_t count)
{
    uint32_t done = 0;

    while (done < count) {
        const uint32_t at = md5->length % 64U;
        const uint32_t part = at_most(count - done, 64U - at);

        (void)memcpy(md5->block + at, bytes + done, part);
        md5->length += part;
        done += part;
        if (at + part == 64U) {
            md5_mix(md5);
        }
    }
}

static void md5_end(struct md5 *md5, uint8_t digest[MD5_BYTES])
{
    static const uint8_t padding[64] = { 0x80U };
    const uint32_t length = md5->length;
    uint8_t bits[8];

    put32(bits, length << 3);
    put32(bits + 4, length >> 29);
    md5_add(md5, padding, 1U + (119U - length % 64U) % 64U);
    md5_add(md5, bits, sizeof bits);
    for (uint32_t i = 0; i < 4U; i++) {
        put32(digest + 4U * i, md5->state[i]);
    }
}

static bool file_is_whole(const uint8_t md5[MD5_BYTES])
{
    /* A copy, because the host may ask again. */
    struct md5 running = job.md5;
    uint8_t digest[MD5_BYTES];

    md5_end(&running, digest);
    return job.received == job.size && memcmp(digest, md5, MD5_BYTES) == 0;
}

/* ---- Sending ---- */

/* The bridge's thread sees the end of the connection, and closes it. */
static void break_off(void)
{
    wire.broken = true;
    wire.welcomed = false;
    (void)shutdown(wire_fd, SHUT_RDWR);
}

static size_t sent_of(ssize_t result)
{
    if (result >= 0) {
        return (size_t)result;
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        break_off();
    }
    return 0;
}

/* The first part begins with the head's four bytes; its length is filled in here. What the socket
 * does not take now waits in wire.out, which is empty before. */
static void send_parts(struct iovec *parts, size_t count)
{
    struct msghdr message;
    size_t whole = 0;
    size_t sent;

    for (size_t i = 0; i < count; i++) {
        whole += parts[i].iov_len;
    }
    put16((uint8_t *)parts[0].iov_base + 2, (uint16_t)(whole - HEAD_BYTES));
    (void)memset(&message, 0, sizeof message);
    message.msg_iov = parts;
    message.msg_iovlen = count;
    sent = sent_of(sendmsg(wire_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));

    wire.out_from = 0;
    wire.out_to = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t skipped = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        const size_t rest = parts[i].iov_len - skipped;

        (void)memcpy(wire.out + wire.out_to, (uint8_t *)parts[i].iov_base + skipped, rest);
        wire.out_to += rest;
        sent -= skipped;
    }
}

static void send_small(uint8_t kind, uint8_t number, const uint8_t *body, size_t length)
{
    uint8_t bytes[HEAD_BYTES + MD5_BYTES];
    struct iovec part;

    bytes[0] = kind;
    bytes[1] = number;
    if (length > 0U) {
        (void)memcpy(bytes + HEAD_BYTES, body, length);
    }
    part.iov_base = bytes;
    part.iov_len = HEAD_BYTES + length;
    send_parts(&part, 1);
}

static void send_request(uint8_t kind, struct request *request, const uint8_t *body, size_t length)
{
    request->unsent = false;
    send_small(kind, request->number, body, length);
}

static void send_hello(void)
{
    uint8_t bytes[HEAD_BYTES + 9U] = { KIND_HELLO, 1U, 0, 0, 'U', 'P', 'B', 'R' };
    struct iovec parts[2];

    put16(bytes + 8, (uint16_t)UPLIFT_PSDK_PROTOCOL_LOWEST);
    put16(bytes + 10, (uint16_t)UPLIFT_PSDK_PROTOCOL_HIGHEST);
    bytes[12] = bridge.application_length;
    parts[0].iov_base = bytes;
    parts[0].iov_len = sizeof bytes;
    parts[1].iov_base = bridge.application;
    parts[1].iov_len = bridge.application_length;
    send_parts(parts, 2);
}

static void send_start(void)
{
    uint8_t bytes[HEAD_BYTES + 10U];
    struct iovec parts[2];

    start_request.unsent = false;
    bytes[0] = KIND_START;
    bytes[1] = start_request.number;
    put32(bytes + 4, job.size);
    put32(bytes + 8, job.kept);
    put16(bytes + 12, job.name_length);
    parts[0].iov_base = bytes;
    parts[0].iov_len = sizeof bytes;
    parts[1].iov_base = job.name;
    parts[1].iov_len = job.name_length;
    send_parts(parts, 2);
}

static void send_data(void)
{
    uint8_t bytes[HEAD_BYTES + 4U] = { KIND_DATA };
    const uint32_t length = at_most(job.received - job.sent, DATA_BYTES_MAX);
    const uint32_t at = job.sent % WINDOW_BYTES;
    const uint32_t before_end = at_most(length, WINDOW_BYTES - at);
    struct iovec parts[3];

    put32(bytes + 4, job.sent);
    parts[0].iov_base = bytes;
    parts[0].iov_len = sizeof bytes;
    parts[1].iov_base = job.window + at;
    parts[1].iov_len = before_end;
    parts[2].iov_base = job.window;
    parts[2].iov_len = length - before_end;
    job.sent += length;
    job.sent_at_ms = now_ms();
    send_parts(parts, 3);
}

/* Sends the first message whose turn it is. False where there is none. */
static bool send_next(void)
{
    if (!wire.welcomed) {
        return false;
    }
    if (owed.state) {
        owed.state = false;
        send_small(KIND_STATE, 0, &bridge.facts, 1);
    } else if (owed.end) {
        owed.end = false;
        send_small(KIND_END, 0, NULL, 0);
    } else if (enter_request.unsent) {
        send_request(KIND_ENTER, &enter_request, &bridge.transfer, 1);
    } else if (start_request.unsent) {
        send_start();
    } else if (job.flowing && job.sent < job.received) {
        send_data();
    } else if (finish_request.unsent && job.flowing) {
        send_request(KIND_FINISH, &finish_request, job.digest, MD5_BYTES);
    } else if (check_request.unsent && !finish_request.unsent) {
        send_request(KIND_CHECK, &check_request, NULL, 0);
    } else if (owed.ready) {
        owed.ready = false;
        send_small(KIND_READY, owed.ready_number, NULL, 0);
    } else {
        return false;
    }
    return true;
}

/* True where nothing is left of the message before. */
static bool flush(void)
{
    if (wire.out_from < wire.out_to) {
        wire.out_from += sent_of(send(wire_fd, wire.out + wire.out_from,
                                      wire.out_to - wire.out_from, MSG_DONTWAIT | MSG_NOSIGNAL));
    }
    return wire.out_from == wire.out_to;
}

static void send_what_fits(void)
{
    bool more = wire_fd >= 0 && !wire.broken;

    while (more) {
        more = flush() && send_next() && !wire.broken;
    }
}

static bool has_rest(void)
{
    return wire.out_from < wire.out_to && !wire.broken;
}

/* Sends what can be sent without waiting. The rest is the bridge's thread's. */
static void pump(void)
{
    send_what_fits();
    if (has_rest()) {
        wake();
    }
}

/* ---- Requests and the job ---- */

static void ask(struct request *request)
{
    last_number = last_number == UINT8_MAX ? 1U : (uint8_t)(last_number + 1U);
    request->number = last_number;
    request->open = true;
    request->unsent = true;
    request->code = 0;
}

static void drop(struct request *request)
{
    request->open = false;
    request->unsent = false;
}

/* False where this is the answer to something older. */
static bool settle(struct request *request, uint8_t number, uint8_t code)
{
    if (!request->open || request->unsent || request->number != number) {
        return false;
    }
    request->open = false;
    request->code = code;
    (void)pthread_cond_broadcast(&changed);
    return true;
}

/* Hands over, and waits for the answer no longer than the library's thread may be held. Without a
 * connection one attempt is made, and its failure ends the wait. */
static void hand_over(struct request *request, uint16_t wait_ms)
{
    const struct timespec deadline = in_ms(wait_ms);
    const uint32_t failed_attempts = wire.failed_attempts;

    ask(request);
    pump();
    if (!wire.welcomed) {
        wire.try_now = true;
        wake();
    }
    while (request->open && bridge.running && wire.failed_attempts == failed_attempts &&
           wait_until(&deadline)) {
    }
}

static void drop_requests(void)
{
    drop(&enter_request);
    drop(&start_request);
    drop(&finish_request);
    drop(&check_request);
}

static void forget_job(void)
{
    job.step = STEP_IDLE;
    job.refused = false;
    job.failed = false;
    job.flowing = false;
    job.finished = false;
    drop_requests();
}

static void fail_job(enum note why)
{
    job.failed = true;
    job.flowing = false;
    drop(&start_request);
    drop(&finish_request);
    leave_note(why);
    (void)pthread_cond_broadcast(&changed);
}

static void say_file_again(void)
{
    if (!job.failed) {
        ask(&start_request);
        if (job.finished) {
            ask(&finish_request);
        }
    }
}

static void say_job_again(bool enter_again)
{
    if (enter_again) {
        ask(&enter_request);
    }
    if (job.step == STEP_FILE || job.finished) {
        say_file_again();
    }
    if (job.step == STEP_CHECK) {
        ask(&check_request);
    }
}

/* docs/wire/bridge.md section 4: what a new connection makes of the job that the old one had. */
static void resume_job(uint8_t stage)
{
    const bool waiting = stage == STAGE_WAITING;
    const bool enter_again = enter_request.open || !waiting;
    /* Without an answer to START the daemon may never have heard of the file. What came of it is
     * still here, so it can begin anew. */
    const bool unknown_file = start_request.open && job.kept == 0U;
    /* The host believes that its upgrade has started. Where no report can tell how it ended, the
     * daemon must hear of it once more, and end it. */
    const bool untold = job.step == STEP_CHECK && (stage == STAGE_NOTHING || enter_request.open);

    drop_requests();
    job.flowing = false;
    owed.end = acknowledged && stage == STAGE_REPORT;
    if (job.step == STEP_IDLE || stage == STAGE_STARTED) {
        forget_job();
    } else if (waiting || job.step == STEP_ENTERED || unknown_file || untold) {
        say_job_again(enter_again);
    } else if (job.step == STEP_CHECK) {
        forget_job();
    } else {
        fail_job(NOTE_UPGRADE_LOST);
    }
    (void)pthread_cond_broadcast(&changed);
}

/* ---- Callbacks: each runs on the library's thread, with the mutex held ---- */

static T_DjiReturnCode enter(uint16_t *wait_seconds)
{
    forget_job();
    check_asked = false;
    acknowledged = false;
    job.step = STEP_ENTERED;
    hand_over(&enter_request, bridge.config.answer_wait_ms);
    if (enter_request.open && !wire.welcomed) {
        forget_job();
        return failure(CODE_SYSTEM_ERROR);
    }
    if (job.refused) {
        return failure(CODE_SYSTEM_ERROR);
    }
    /* Where it is still open, the daemon is busy or hangs. A refusal that comes later fails
     * start. */
    *wait_seconds = enter_request.open ? bridge.config.enter_wait_s : job.wait_s;
    return 0;
}

static T_DjiReturnCode start_file(const T_DjiUpgradeFileInfo *file)
{
    const void *end = memchr(file->fileName, '\0', NAME_BYTES_MAX);

    if (job.refused || (job.step == STEP_IDLE && !wire.welcomed)) {
        return failure(CODE_SYSTEM_ERROR);
    }
    job.step = STEP_FILE;
    job.failed = false;
    job.flowing = false;
    job.finished = false;
    job.size = file->fileSize;
    job.received = 0;
    job.sent = 0;
    job.kept = 0;
    job.sent_at_ms = 0;
    job.name_length =
        (uint16_t)(end == NULL ? NAME_BYTES_MAX : (size_t)((const char *)end - file->fileName));
    (void)memcpy(job.name, file->fileName, job.name_length);
    md5_begin(&job.md5);
    check_asked = false;
    drop(&finish_request);
    drop(&check_request);
    hand_over(&start_request, bridge.config.answer_wait_ms);
    return job.failed ? failure(CODE_SYSTEM_ERROR) : 0U;
}

static void keep_bytes(const uint8_t *bytes, uint32_t count)
{
    const uint32_t at = job.received % WINDOW_BYTES;
    const uint32_t before_end = at_most(count, WINDOW_BYTES - at);

    (void)memcpy(job.window + at, bytes, before_end);
    (void)memcpy(job.window, bytes + before_end, count - before_end);
    md5_add(&job.md5, bytes, count);
    job.received += count;
}

static bool has_room(uint32_t count)
{
    return count <= WINDOW_BYTES - (job.received - job.kept);
}

/* Not yet where more is about to come: Finish sends all. */
static bool data_is_due(void)
{
    return job.received - job.sent >= DATA_BYTES_MAX || job.received == job.size ||
           now_ms() - job.sent_at_ms >= UPLIFT_PSDK_HOLD_MS;
}

/* Where the daemon is behind, the host waits with the library: it may count how often it repeats a
 * chunk, and give up. */
static void wait_for_room(uint32_t count)
{
    const struct timespec deadline = in_ms(bridge.config.answer_wait_ms);

    while (!has_room(count) && !job.failed && bridge.running &&
           wait_until(&deadline)) {
    }
}

/* An error is no abort: the host repeats the chunk until it ends the transfer by finish. */
static T_DjiReturnCode take_chunk(const uint8_t *bytes, uint32_t count)
{
    if (count > WINDOW_BYTES) {
        return failure(CODE_OUT_OF_RANGE);
    }
    if (job.step != STEP_FILE) {
        return failure(CODE_WRONG_STATE);
    }
    if (count > job.size - job.received) {
        leave_note(NOTE_TOO_MANY_BYTES);
        return failure(CODE_OUT_OF_RANGE);
    }
    if (!has_room(count)) {
        wait_for_room(count);
    }
    if (job.failed) {
        return failure(CODE_SYSTEM_ERROR);
    }
    if (!has_room(count)) {
        leave_note(NOTE_WINDOW_FULL);
        return failure(CODE_BUSY);
    }
    keep_bytes(bytes, count);
    if (data_is_due()) {
        pump();
    }
    return 0;
}

static T_DjiReturnCode finish_file(const uint8_t md5[MD5_BYTES])
{
    if (job.step != STEP_FILE && !job.finished) {
        return failure(CODE_WRONG_STATE);
    }
    if (job.finished && memcmp(job.digest, md5, MD5_BYTES) != 0) {
        return failure(CODE_WRONG_STATE);
    }
    if (job.failed) {
        return failure(CODE_SYSTEM_ERROR);
    }
    if (job.finished && job.step != STEP_COMPLETE) {
        return 0;
    }
    job.step = STEP_COMPLETE;
    job.finished = true;
    (void)memcpy(job.digest, md5, MD5_BYTES);
    if (!file_is_whole(md5)) {
        /* The daemon is told all the same, so that its journal says why. */
        ask(&finish_request);
        pump();
        job.failed = true;
        leave_note(NOTE_WRONG_FILE);
        return failure(CODE_SYSTEM_ERROR);
    }
    hand_over(&finish_request, bridge.config.check_wait_ms);
    return job.failed ? failure(CODE_SYSTEM_ERROR) : 0U;
}

static T_DjiReturnCode check_firmware(void)
{
    uint16_t wait_ms;

    if (job.step == STEP_COMPLETE && job.failed) {
        return failure(CODE_SYSTEM_ERROR);
    }
    if (job.step == STEP_IDLE && !wire.welcomed) {
        return failure(CODE_SYSTEM_ERROR);
    }
    /* In the middle of a file, or before it: nothing is to be checked, and the file goes on. */
    if (job.step == STEP_FILE ||
        (job.step == STEP_ENTERED && bridge.transfer == TRANSFER_DCFTP)) {
        return failure(CODE_WRONG_STATE);
    }
    /* Only the daemon knows whether there is something that this process has not seen. It refuses
     * at once what no end would tell of. */
    wait_ms = job.step == STEP_IDLE ? bridge.config.answer_wait_ms : bridge.config.check_wait_ms;
    job.step = STEP_CHECK;
    check_asked = true;
    hand_over(&check_request, wait_ms);
    return check_request.code == 0U || check_request.code == CHECKED_START_FAILED
               ? 0U
               : failure(CODE_SYSTEM_ERROR);
}

/* The library calls this right after a check that succeeded; the daemon decided on both at once. */
static T_DjiReturnCode start_upgrade(void)
{
    if (!check_asked) {
        return failure(CODE_WRONG_STATE);
    }
    return check_request.code == 0U ? 0U : failure(CODE_SYSTEM_ERROR);
}

static T_DjiReturnCode finish_upgrade(void)
{
    /* The daemon knows whether there is a report that this acknowledges. */
    acknowledged = true;
    owed.end = true;
    if (job.step == STEP_CHECK) {
        forget_job();
    }
    pump();
    return 0;
}

static void see_fact(uint8_t fact)
{
    if ((bridge.facts & fact) == 0U) {
        bridge.facts = (uint8_t)(bridge.facts | fact);
        owed.state = true;
        pump();
    }
}

/* False where the bridge was stopped. */
static bool callback_may_run(void)
{
    if (bridge.running) {
        see_fact(FACT_AIRCRAFT_SEEN);
    }
    return bridge.running;
}

static T_DjiReturnCode on_enter(uint16_t *wait_seconds)
{
    T_DjiReturnCode code = failure(CODE_WRONG_STATE);
    const struct cancellation cancel = lock();

    if (wait_seconds == NULL) {
        code = failure(CODE_INVALID_PARAMETER);
    } else if (callback_may_run()) {
        code = enter(wait_seconds);
    }
    unlock(cancel);
    return code;
}

static T_DjiReturnCode on_start(const T_DjiUpgradeFileInfo *file)
{
    T_DjiReturnCode code = failure(CODE_WRONG_STATE);
    const struct cancellation cancel = lock();

    if (file == NULL) {
        code = failure(CODE_INVALID_PARAMETER);
    } else if (callback_may_run()) {
        code = start_file(file);
    }
    unlock(cancel);
    return code;
}

static T_DjiReturnCode on_transfer(const uint8_t *bytes, uint16_t count)
{
    T_DjiReturnCode code = failure(CODE_WRONG_STATE);
    const struct cancellation cancel = lock();

    if (bytes == NULL || count == 0U) {
        code = failure(CODE_INVALID_PARAMETER);
    } else if (callback_may_run()) {
        code = take_chunk(bytes, count);
    }
    unlock(cancel);
    return code;
}

static T_DjiReturnCode on_finish(const uint8_t md5[DJI_MD5_BUFFER_LEN])
{
    T_DjiReturnCode code = failure(CODE_WRONG_STATE);
    const struct cancellation cancel = lock();

    if (md5 == NULL) {
        code = failure(CODE_INVALID_PARAMETER);
    } else if (callback_may_run()) {
        code = finish_file(md5);
    }
    unlock(cancel);
    return code;
}

static T_DjiReturnCode on_check(void)
{
    const struct cancellation cancel = lock();
    const T_DjiReturnCode code = callback_may_run() ? check_firmware() : failure(CODE_WRONG_STATE);

    unlock(cancel);
    return code;
}

static T_DjiReturnCode on_start_upgrade(void)
{
    const struct cancellation cancel = lock();
    const T_DjiReturnCode code = callback_may_run() ? start_upgrade() : failure(CODE_WRONG_STATE);

    unlock(cancel);
    return code;
}

static T_DjiReturnCode on_finish_upgrade(void)
{
    const struct cancellation cancel = lock();
    const T_DjiReturnCode code = callback_may_run() ? finish_upgrade() : failure(CODE_WRONG_STATE);

    unlock(cancel);
    return code;
}

/* ---- The library ---- */

static bool same_version(T_DjiFirmwareVersion one, T_DjiFirmwareVersion other)
{
    return memcmp(&one, &other, sizeof one) == 0;
}

/* Both places that tell a version get the same one: two that differ confuse people. */
static T_DjiReturnCode tell_version(T_DjiFirmwareVersion version)
{
    T_DjiUpgradeConfig config;
    T_DjiReturnCode code;

    (void)memset(&config, 0, sizeof config);
    config.currentFirmwareVersion = version;
    config.firmwareTransferInfo.transferType = bridge.transfer == TRANSFER_FTP
                                                   ? DJI_FIRMWARE_TRANSFER_TYPE_FTP
                                                   : DJI_FIRMWARE_TRANSFER_TYPE_DCFTP;
    config.firmwareTransferInfo.ftpTransferInfo.port = bridge.port;
    config.firmwareTransferInfo.dcftpFileTransferOpt.start = on_start;
    config.firmwareTransferInfo.dcftpFileTransferOpt.transfer = on_transfer;
    config.firmwareTransferInfo.dcftpFileTransferOpt.finish = on_finish;
    code = DjiUpgrade_Init(&config);
    /* A second Init takes the new version and says "duplicate". */
    if ((uint32_t)code == CODE_DUPLICATE) {
        code = 0;
    }
    if (!succeeded(code)) {
        leave_note_alone(NOTE_INIT_FAILED);
    } else if (!succeeded(DjiCore_SetFirmwareVersion(version))) {
        leave_note_alone(NOTE_SET_VERSION_FAILED);
    }
    return code;
}

static T_DjiReturnCode arm_library(T_DjiFirmwareVersion version)
{
    static const T_DjiUpgradeHandler handler = {
        on_enter,
        on_check,
        on_start_upgrade,
        on_finish_upgrade,
    };
    T_DjiReturnCode code = tell_version(version);

    if (succeeded(code)) {
        code = DjiUpgrade_RegHandler(&handler);
    }
    if (succeeded(code)) {
        code = DjiUpgrade_EnableLocalUpgrade();
    }
    return code;
}

static bool is_initialised(void)
{
    return (bridge.facts & FACT_INITIALISED) != 0U;
}

/* Tells the library again where the daemon knows better by now. */
static void keep_version(void)
{
    const struct cancellation cancel = lock();
    const T_DjiFirmwareVersion version = bridge.version;
    const bool due =
        is_initialised() && bridge.version_known && !same_version(version, bridge.told);

    if (due) {
        bridge.told = version;
    }
    unlock(cancel);
    if (due) {
        (void)tell_version(version);
    }
}

/* ---- Messages of the daemon ---- */

static T_DjiFirmwareVersion version_of(const uint8_t *from)
{
    T_DjiFirmwareVersion version;

    version.majorVersion = from[0];
    version.minorVersion = from[1];
    version.modifyVersion = from[2];
    version.debugVersion = from[3];
    return version;
}

/* False where the connection must end. */
static bool take_welcome(const uint8_t *body)
{
    const uint32_t version = get16(body);

    /* Compared as a range, so that the lowest may be 0 without a comparison that is always true. */
    if (version - UPLIFT_PSDK_PROTOCOL_LOWEST >
        UPLIFT_PSDK_PROTOCOL_HIGHEST - UPLIFT_PSDK_PROTOCOL_LOWEST) {
        leave_note(NOTE_VERSIONS);
        return false;
    }
    if (wire.welcomed || wire.broken) {
        return true;
    }
    wire.welcomed = true;
    if (body[3] != 0U) {
        bridge.version_known = true;
        bridge.version = version_of(body + 4);
    }
    bridge.transfer_that_suits = body[8];
    bridge.port_that_suits = get16(body + 9);
    owed.state = true;
    leave_note(NOTE_CONNECTED);
    resume_job(body[2]);
    return true;
}

static void take_version(const uint8_t *body)
{
    bridge.version_known = true;
    bridge.version = version_of(body);
}

static void take_entered(uint8_t number, const uint8_t *body)
{
    if (settle(&enter_request, number, body[0])) {
        job.wait_s = get16(body + 1);
        job.refused = body[0] != 0U;
        if (job.refused) {
            leave_note(NOTE_ENTER_REFUSED);
        }
        if (job.refused && job.step == STEP_ENTERED) {
            job.step = STEP_IDLE;
        }
    }
}

static void take_started(uint8_t number, const uint8_t *body)
{
    const uint32_t from = get32(body + 1);

    if (!settle(&start_request, number, body[0])) {
        return;
    }
    if (body[0] != 0U || from < job.kept || from > job.received) {
        fail_job(NOTE_START_REFUSED);
    } else {
        /* What was written before the connection was lost may never have been told. Where the window
         * is full, nothing else would tell it: WRITTEN comes when there is more to write. */
        job.kept = from;
        job.sent = from;
        job.flowing = true;
        /* Whoever takes a file has let its host enter. */
        drop(&enter_request);
    }
}

/* False where the daemon confirms what it was never sent. */
static bool take_written(const uint8_t *body)
{
    const uint32_t offset = get32(body);

    if (job.flowing && offset > job.sent) {
        leave_note(NOTE_DAMAGED);
        return false;
    }
    if (job.flowing && offset > job.kept) {
        job.kept = offset;
        (void)pthread_cond_broadcast(&changed);
    }
    return true;
}

static void take_failed(void)
{
    if (job.flowing) {
        fail_job(NOTE_RECEPTION_FAILED);
    }
}

static void take_finished(uint8_t number, const uint8_t *body)
{
    if (settle(&finish_request, number, body[0]) && body[0] != 0U) {
        fail_job(NOTE_FINISH_REFUSED);
    }
}

static void take_checked(uint8_t number, const uint8_t *body)
{
    if (settle(&check_request, number, body[0])) {
        if (body[0] != 0U) {
            leave_note(NOTE_CHECK_FAILED);
        }
        if (job.step == STEP_CHECK) {
            job.step = STEP_IDLE;
        }
    }
}

static void take_report(const uint8_t *body, size_t length)
{
    struct uplift_psdk_report report;
    bool news;
    struct cancellation cancel;

    if (body[0] < (uint8_t)UPLIFT_PSDK_SUCCEEDED || body[0] > (uint8_t)UPLIFT_PSDK_ROLLED_BACK) {
        return;
    }
    (void)memset(&report, 0, sizeof report);
    report.outcome = (enum uplift_psdk_outcome)body[0];
    report.version_before = version_of(body + 1);
    report.version_asked = version_of(body + 5);
    copy_text(report.text, sizeof report.text, body + 9, length - 9U);
    cancel = lock();
    /* Every connection brings the same one again. */
    news = !bridge.has_report || memcmp(&bridge.report, &report, sizeof report) != 0;
    bridge.has_report = true;
    bridge.report = report;
    unlock(cancel);
    if (news) {
        say_text(UPLIFT_PSDK_INFO, "The last upgrade's report", body + 9, length - 9U);
    }
}

/* The library does not survive a push before its Init succeeded. */
static bool may_push(void)
{
    const struct cancellation cancel = lock();
    const bool may = is_initialised();

    unlock(cancel);
    return may;
}

static void take_push(const uint8_t *body)
{
    T_DjiUpgradeState state;
    const uint8_t value = body[1];
    bool known = true;

    (void)memset(&state, 0, sizeof state);
    if (body[0] == (uint8_t)DJI_UPGRADE_STAGE_ONGOING && value <= 100U) {
        state.upgradeStage = DJI_UPGRADE_STAGE_ONGOING;
        state.upgradeOngoingInfo.upgradeProgress = value;
    } else if (body[0] == (uint8_t)DJI_UPGRADE_STAGE_DEVICE_REBOOT) {
        state.upgradeStage = DJI_UPGRADE_STAGE_DEVICE_REBOOT;
        state.upgradeRebootInfo.rebootTimeout = value;
    } else if (body[0] == (uint8_t)DJI_UPGRADE_STAGE_END && (value == 1U || value == 2U)) {
        state.upgradeStage = DJI_UPGRADE_STAGE_END;
        state.upgradeEndInfo.upgradeEndState = (E_DjiUpgradeEndState)value;
    } else {
        known = false;
    }
    if (known && may_push() && !succeeded(DjiUpgrade_PushUpgradeState(&state))) {
        leave_note_alone(NOTE_PUSH_FAILED);
    }
}

static void take_restarting(uint8_t number, const uint8_t *body)
{
    struct cancellation cancel;

    say(UPLIFT_PSDK_INFO, "The daemon is about to restart the application or the machine");
    if (bridge.config.about_to_restart != NULL) {
        bridge.config.about_to_restart(bridge.config.context, get16(body));
    }
    cancel = lock();
    owed.ready = true;
    owed.ready_number = number;
    unlock(cancel);
}

static void take_gone(const uint8_t *text, size_t length)
{
    say_text(UPLIFT_PSDK_WARNING, "The daemon closed the connection", text, length);
    pacing.replaced = at_most(pacing.replaced + 1U, REPLACED_DOUBLINGS_MAX);
    pacing.gone = true;
}

/* What only notes something, with the mutex held. False where the connection must end. */
static bool handle_locked(uint8_t kind, uint8_t number, const uint8_t *body)
{
    bool good = true;

    switch (kind) {
    case KIND_WELCOME:
        good = take_welcome(body);
        break;
    case KIND_VERSION:
        take_version(body);
        break;
    case KIND_ENTERED:
        take_entered(number, body);
        break;
    case KIND_STARTED:
        take_started(number, body);
        break;
    case KIND_WRITTEN:
        good = take_written(body);
        break;
    case KIND_FAILED:
        take_failed();
        break;
    case KIND_FINISHED:
        take_finished(number, body);
        break;
    case KIND_CHECKED:
        take_checked(number, body);
        break;
    default:
        break;
    }
    return good;
}

/* What calls the application or the library, without the mutex. */
static void handle_unlocked(uint8_t kind, uint8_t number, const uint8_t *body, size_t length)
{
    switch (kind) {
    case KIND_FAILED:
        say_text(UPLIFT_PSDK_WARNING, "The reception failed", body, length);
        break;
    case KIND_PUSH:
        take_push(body);
        break;
    case KIND_RESTARTING:
        take_restarting(number, body);
        break;
    case KIND_REPORT:
        take_report(body, length);
        break;
    default:
        break;
    }
}

/* The least bytes of a body. Those behind the fields are of a later version, and passed over. */
static size_t least_of(uint8_t kind)
{
    switch (kind) {
    case KIND_WELCOME:
        return 11;
    case KIND_VERSION:
    case KIND_WRITTEN:
        return 4;
    case KIND_ENTERED:
        return 3;
    case KIND_STARTED:
        return 5;
    case KIND_FINISHED:
    case KIND_CHECKED:
        return 1;
    case KIND_PUSH:
    case KIND_RESTARTING:
        return 2;
    case KIND_REPORT:
        return 9;
    default:
        return 0;
    }
}

static bool handle(const uint8_t *message, size_t length)
{
    const uint8_t kind = message[0];
    const uint8_t number = message[1];
    const uint8_t *body = message + HEAD_BYTES;
    bool welcomed = false;
    bool good = true;
    struct cancellation cancel;

    if (length < least_of(kind)) {
        leave_note_alone(NOTE_DAMAGED);
        return false;
    }
    if (kind == KIND_GONE) {
        take_gone(body, length);
        return false;
    }
    cancel = lock();
    welcomed = wire.welcomed;
    if (welcomed || kind == KIND_WELCOME) {
        good = handle_locked(kind, number, body);
    }
    unlock(cancel);
    if (good && welcomed) {
        handle_unlocked(kind, number, body, length);
    }
    return good;
}

/* Handles what has arrived whole; the rest waits for its end. */
static bool handle_messages(void)
{
    size_t from = 0;
    bool whole = true;
    bool good = true;

    while (good && whole) {
        const size_t there = in.length - from;
        const size_t length = there < HEAD_BYTES ? 0U : get16(in.bytes + from + 2);

        if (length > BODY_FROM_DAEMON_MAX) {
            leave_note_alone(NOTE_DAMAGED);
            good = false;
        }
        whole = there >= HEAD_BYTES + length;
        if (good && whole) {
            good = handle(in.bytes + from, length);
            from += HEAD_BYTES + length;
        }
    }
    in.length -= from;
    (void)memmove(in.bytes, in.bytes + from, in.length);
    return good;
}

/* False where the connection is over. */
static bool receive(void)
{
    const ssize_t count =
        recv(wire_fd, in.bytes + in.length, sizeof in.bytes - in.length, MSG_DONTWAIT);

    if (count < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    }
    if (count == 0) {
        return false;
    }
    in.length += (size_t)count;
    return handle_messages();
}

/* ---- The bridge's thread ---- */

/* A payload has one bridge, so the jitter needs no good source. */
static uint32_t with_jitter(uint32_t ms)
{
    pacing.random = pacing.random * 1664525U + 1013904223U + (uint32_t)now_ms();
    return ms - ms / 4U + (pacing.random >> 16) % (ms / 2U + 1U);
}

static void pause_longer(void)
{
    pacing.pause_ms =
        pacing.pause_ms == 0U ? PAUSE_FIRST_MS : at_most(pacing.pause_ms * 2U, PAUSE_MAX_MS);
    pacing.attempt_at = now_ms() + with_jitter(pacing.pause_ms);
}

static int open_connection(void)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address;

    if (fd < 0) {
        return -1;
    }
    (void)memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    (void)memcpy(address.sun_path, bridge.path, sizeof address.sun_path);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void begin_connection(int fd)
{
    wire_fd = fd;
    wire.broken = false;
    wire.welcomed = false;
    owed.ready = false;
    in.length = 0;
    pacing.since = now_ms();
    pacing.gone = false;
    send_hello();
}

static void attempt(void)
{
    const int fd = open_connection();
    const struct cancellation cancel = lock();

    wire.try_now = false;
    if (fd >= 0) {
        begin_connection(fd);
    } else {
        /* Nobody is there, so nobody else is served either. */
        pacing.replaced = 0;
        wire.failed_attempts++;
        leave_note(NOTE_AWAY);
        pause_longer();
        (void)pthread_cond_broadcast(&changed);
    }
    unlock(cancel);
}

static void plan_next_attempt(void)
{
    const uint64_t now = now_ms();
    const uint64_t lasted = now - pacing.since;

    if (lasted >= LASTING_REPLACED_MS) {
        pacing.replaced = 0;
    }
    if (lasted >= LASTING_MS) {
        pacing.pause_ms = 0;
    }
    if (pacing.gone) {
        pacing.attempt_at = now + with_jitter(PAUSE_REPLACED_MS << pacing.replaced >> 1);
    } else if (lasted >= LASTING_MS) {
        pacing.attempt_at = now;
    } else {
        pause_longer();
    }
}

static void end_connection(void)
{
    const struct cancellation cancel = lock();

    (void)close(wire_fd);
    wire_fd = -1;
    wire.welcomed = false;
    wire.out_from = 0;
    wire.out_to = 0;
    leave_note(NOTE_LOST);
    plan_next_attempt();
    unlock(cancel);
}

static void drain_wake(void)
{
    uint64_t count;

    (void)!read(wake_fd, &count, sizeof count);
}

/* Waits for the next attempt, a wake, or something on the socket. True where it is the socket. */
static bool wait_for_events(int timeout, short events)
{
    struct pollfd fds[2];

    fds[0].fd = wake_fd;
    fds[0].events = POLLIN;
    fds[0].revents = 0;
    fds[1].fd = wire_fd;
    fds[1].events = events;
    fds[1].revents = 0;
    (void)poll(fds, 2, timeout);
    if (fds[0].revents != 0) {
        drain_wake();
    }
    return (fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
}

static void look_for_daemon(void)
{
    const struct cancellation cancel = lock();
    const uint64_t now = now_ms();
    const bool due = wire.try_now || now >= pacing.attempt_at;

    unlock(cancel);
    if (due) {
        attempt();
    } else {
        (void)wait_for_events((int)(pacing.attempt_at - now), 0);
    }
}

static void serve_connection(void)
{
    struct cancellation cancel = lock();
    const bool rest = has_rest();

    unlock(cancel);
    if (wait_for_events(-1, (short)(rest ? POLLIN | POLLOUT : POLLIN)) && !receive()) {
        end_connection();
    }
    cancel = lock();
    send_what_fits();
    unlock(cancel);
}

static bool is_running(void)
{
    const struct cancellation cancel = lock();
    const bool running = bridge.running;

    unlock(cancel);
    return running;
}

static void *run_bridge(void *unused)
{
    (void)unused;
    while (is_running()) {
        if (wire_fd < 0) {
            look_for_daemon();
        } else {
            serve_connection();
        }
        keep_version();
        say_notes();
    }
    if (wire_fd >= 0) {
        end_connection();
    }
    return NULL;
}

/* ---- Start and stop ---- */

static uint16_t or_default(uint16_t value, uint16_t otherwise)
{
    return value == 0U ? otherwise : value;
}

static bool adopt(const struct uplift_psdk_config *config)
{
    const char *path = config->socket_path == NULL ? UPLIFT_PSDK_SOCKET : config->socket_path;
    const char *name = config->application == NULL ? "" : config->application;

    if (strlen(path) >= sizeof bridge.path || strlen(name) > APPLICATION_BYTES_MAX ||
        (uint32_t)config->transfer > (uint32_t)UPLIFT_PSDK_TRANSFER_FTP) {
        return false;
    }
    bridge.config = *config;
    (void)memset(bridge.path, 0, sizeof bridge.path);
    (void)memcpy(bridge.path, path, strlen(path));
    bridge.application_length = (uint8_t)strlen(name);
    (void)memcpy(bridge.application, name, strlen(name));
    bridge.config.ftp_port = or_default(config->ftp_port, 21);
    bridge.config.start_wait_ms = or_default(config->start_wait_ms, 1000);
    bridge.config.enter_wait_s = or_default(config->enter_wait_s, 3);
    bridge.config.answer_wait_ms =
        (uint16_t)at_most(or_default(config->answer_wait_ms, 100), ANSWER_WAIT_MAX_MS);
    bridge.config.check_wait_ms = (uint16_t)at_most(config->check_wait_ms, ANSWER_WAIT_MAX_MS);
    if (config->thread_stack == 0U) {
        bridge.config.thread_stack = THREAD_STACK_BYTES;
    }
    return true;
}

static void begin_anew(void)
{
    bridge.running = true;
    bridge.facts = (uint8_t)(bridge.facts & FACT_AIRCRAFT_SEEN);
    bridge.version_known = false;
    bridge.transfer_that_suits = 0;
    (void)memset(&pacing, 0, sizeof pacing);
    (void)memset(&owed, 0, sizeof owed);
    (void)memset(notes, 0, sizeof notes);
    wire.try_now = false;
    last_number = 0;
    check_asked = false;
    acknowledged = false;
    forget_job();
}

static int create_thread(void)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    int error;

    (void)pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, bridge.config.thread_stack) != 0) {
        (void)pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN);
    }
    /* The application's signal handlers are not for this thread's small stack. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&bridge.thread, &attributes, run_bridge, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return error;
}

static T_DjiReturnCode start_thread(const struct uplift_psdk_config *config)
{
    if (wake_fd < 0) {
        return failure(CODE_SYSTEM_ERROR);
    }
    if (!adopt(config)) {
        return failure(CODE_INVALID_PARAMETER);
    }
    begin_anew();
    /* With the mutex held, so that the thread's first look finds its own name. */
    bridge.exists = create_thread() == 0;
    bridge.running = bridge.exists;
    return bridge.exists ? 0U : failure(CODE_SYSTEM_ERROR);
}

static void wait_for_welcome(void)
{
    const struct timespec deadline = in_ms(bridge.config.start_wait_ms);

    while (!wire.welcomed && bridge.running &&
           wait_until(&deadline)) {
    }
}

static void choose_transfer(void)
{
    const bool ftp = bridge.config.transfer == UPLIFT_PSDK_TRANSFER_FTP ||
                     (bridge.config.transfer == UPLIFT_PSDK_TRANSFER_AUTO &&
                      bridge.transfer_that_suits == TRANSFER_FTP);

    bridge.transfer = ftp ? TRANSFER_FTP : TRANSFER_DCFTP;
    bridge.port = wire.welcomed ? or_default(bridge.port_that_suits, bridge.config.ftp_port)
                                : bridge.config.ftp_port;
}

static void join_thread(void)
{
    struct cancellation cancel;

    if (bridge.exists) {
        (void)pthread_join(bridge.thread, NULL);
        cancel = lock();
        bridge.exists = false;
        unlock(cancel);
    }
}

/* With control held, so that nobody else starts or stops meanwhile. */
static T_DjiReturnCode start_controlled(const struct uplift_psdk_config *config)
{
    T_DjiReturnCode code = 0;
    T_DjiFirmwareVersion version;
    struct cancellation cancel;

    if (!is_running()) {
        /* Stopped from its own thread, which could not wait for itself. */
        join_thread();
    }
    cancel = lock();
    if (!bridge.running) {
        code = start_thread(config);
    }
    if (!succeeded(code) || is_initialised()) {
        unlock(cancel);
        return code;
    }
    wait_for_welcome();
    choose_transfer();
    version = bridge.version_known ? bridge.version : bridge.config.fallback_version;
    unlock(cancel);

    code = arm_library(version);

    cancel = lock();
    if (succeeded(code)) {
        bridge.told = version;
        see_fact(FACT_INITIALISED);
        wake();
    }
    unlock(cancel);
    return code;
}

static bool is_own_thread(void)
{
    const struct cancellation cancel = lock();
    const bool own = bridge.exists && pthread_equal(bridge.thread, pthread_self()) != 0;

    unlock(cancel);
    return own;
}

T_DjiReturnCode uplift_psdk_start(const struct uplift_psdk_config *config)
{
    T_DjiReturnCode code;
    struct cancellation cancel;

    if (config == NULL) {
        return failure(CODE_INVALID_PARAMETER);
    }
    if (is_own_thread()) {
        return failure(CODE_WRONG_STATE);
    }
    cancel = forbid_cancellation();
    (void)pthread_mutex_lock(&control);
    code = start_controlled(config);
    (void)pthread_mutex_unlock(&control);
    allow_cancellation(cancel);
    return code;
}

static void tell_thread_to_end(void)
{
    const struct cancellation cancel = lock();

    if (bridge.exists) {
        bridge.running = false;
        (void)pthread_cond_broadcast(&changed);
        wake();
    }
    unlock(cancel);
}

void uplift_psdk_stop(void)
{
    struct cancellation cancel;

    if (is_own_thread()) {
        tell_thread_to_end();
        return;
    }
    cancel = forbid_cancellation();
    (void)pthread_mutex_lock(&control);
    tell_thread_to_end();
    join_thread();
    (void)pthread_mutex_unlock(&control);
    allow_cancellation(cancel);
}

void uplift_psdk_aircraft_seen(void)
{
    const struct cancellation cancel = lock();

    see_fact(FACT_AIRCRAFT_SEEN);
    unlock(cancel);
}

bool uplift_psdk_last_report(struct uplift_psdk_report *report)
{
    const struct cancellation cancel = lock();
    const bool has_report = bridge.has_report;

    if (has_report && report != NULL) {
        *report = bridge.report;
    }
    unlock(cancel);
    return has_report;
}
