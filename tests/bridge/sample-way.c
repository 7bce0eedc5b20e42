/* An upgrade in the way of the vendor's sample (docs/wire/vendor-library.md section 3), without uplift:
 * for the tests of the stand-in, and for comparison. The file is written as it comes and read once
 * more at the end; the check always passes; the file is copied over the running program; progress is
 * 20, 30, 40 ... once a second; the end is "success", written down before the restart. The restart is
 * that this process becomes the new program. What took how long, it says to stderr. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dji_core.h"
#include "dji_logger.h"
#include "dji_upgrade.h"
#include "osal.h"
#include "uart.h"

#ifndef APP_VERSION
#define APP_VERSION 01, 00, 00, 00
#endif

#define OK DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS
#define FAILED DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR
#define STATE_FILE "reboot_state"
#define REBOOT_SECONDS 30
#define MILLIONTH 1000000L

static const uint8_t version[4] = {APP_VERSION};

static struct {
    const char *device, *baud, *store, *program;
    long ftp_port;     /* 0 is DCFTP */
    long wait_seconds; /* announced at Enter */
    long second_ms;    /* a second of this payload */
    char **argv;
} options = {.baud = "921600", .wait_seconds = 10, .second_ms = 1000};

static atomic_bool clear_store, upgrade_started, report_seen;
static char received[PATH_MAX];
static int file = -1;
static double began, last_chunk;
static unsigned long bytes, chunks;

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * MILLIONTH}, NULL);
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1000 + (double)now.tv_nsec / MILLIONTH;
}

/* ---- MD5 (RFC 1321) ---- */

struct md5 {
    uint32_t state[4];
    uint64_t length;
    uint8_t block[64];
};

static uint32_t turned(uint32_t value, int by)
{
    return value << by | value >> (32 - by);
}

/* The integer part of 2^32 times abs(sin(i + 1)). */
static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};

static void md5_block(uint32_t state[4], const uint8_t *block)
{
    static const int turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    for (int i = 0; i < 64; i++) {
        uint32_t mixed;
        int word;
        switch (i / 16) {
        case 0:
            mixed = (b & c) | (~b & d), word = i;
            break;
        case 1:
            mixed = (d & b) | (~d & c), word = (5 * i + 1) % 16;
            break;
        case 2:
            mixed = b ^ c ^ d, word = (3 * i + 5) % 16;
            break;
        default:
            mixed = c ^ (b | ~d), word = 7 * i % 16;
        }
        const uint8_t *at = block + 4 * word;
        mixed += a + sines[i] +
                 (at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
        a = d, d = c, c = b;
        b += turned(mixed, turns[i / 16][i % 4]);
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
}

static void md5_add(struct md5 *md5, const uint8_t *data, size_t count)
{
    while (count > 0) {
        size_t at = md5->length % 64, part = 64 - at < count ? 64 - at : count;
        memcpy(md5->block + at, data, part);
        md5->length += part, data += part, count -= part;
        if (md5->length % 64 == 0)
            md5_block(md5->state, md5->block);
    }
}

static void md5_end(struct md5 *md5, uint8_t digest[16])
{
    uint64_t bits = md5->length * 8;
    uint8_t end[8];
    for (int i = 0; i < 8; i++)
        end[i] = (uint8_t)(bits >> 8 * i);
    md5_add(md5, &(uint8_t){0x80}, 1);
    while (md5->length % 64 != 56)
        md5_add(md5, &(uint8_t){0}, 1);
    md5_add(md5, end, sizeof end);
    for (int i = 0; i < 16; i++)
        digest[i] = (uint8_t)(md5->state[i / 4] >> 8 * (i % 4));
}

/* ---- the callbacks: all on the library's thread ---- */

static T_DjiReturnCode on_enter(uint16_t *wait_seconds)
{
    *wait_seconds = (uint16_t)options.wait_seconds;
    clear_store = true;
    return OK;
}

static T_DjiReturnCode on_file_start(const T_DjiUpgradeFileInfo *info)
{
    const char *name = strrchr(info->fileName, '/');
    name = name ? name + 1 : info->fileName;
    if (file >= 0)
        close(file);
    snprintf(received, sizeof received, "%s/%s", options.store, name);
    file = open(received, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    began = now_ms();
    bytes = chunks = 0;
    return file >= 0 ? OK : FAILED;
}

static T_DjiReturnCode on_file_data(const uint8_t *data, uint16_t count)
{
    last_chunk = now_ms();
    bytes += count;
    chunks++;
    return write(file, data, count) == count ? OK : FAILED;
}

static T_DjiReturnCode on_file_finish(const uint8_t wanted[DJI_MD5_BUFFER_LEN])
{
    struct md5 md5 = {.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
    uint8_t buffer[1024], digest[16];
    ssize_t count;
    if (file < 0 || lseek(file, 0, SEEK_SET) != 0)
        return FAILED;
    while ((count = read(file, buffer, sizeof buffer)) > 0)
        md5_add(&md5, buffer, (size_t)count);
    close(file);
    file = -1;
    md5_end(&md5, digest);
    return memcmp(digest, wanted, sizeof digest) == 0 ? OK : FAILED;
}

static T_DjiReturnCode on_check(void)
{
    return OK;
}

static T_DjiReturnCode on_start(void)
{
    if (chunks > 0)
        fprintf(stderr, "%lu bytes in %lu chunks took %.1f ms; from the last chunk to Start %.1f ms\n",
                bytes, chunks, last_chunk - began, now_ms() - last_chunk);
    upgrade_started = true;
    return OK;
}

static T_DjiReturnCode on_finish(void)
{
    report_seen = true;
    return OK;
}

/* ---- the sample's two threads ---- */

static void *clear_thread(void *unused)
{
    for (;; sleep_ms(20)) {
        if (!atomic_exchange(&clear_store, false))
            continue;
        DIR *store = opendir(options.store);
        struct dirent *entry;
        while (store && (entry = readdir(store)))
            if (entry->d_name[0] != '.')
                unlinkat(dirfd(store), entry->d_name, 0);
        if (store)
            closedir(store);
    }
    return unused;
}

static void push(E_DjiUpgradeStage stage, int value)
{
    T_DjiUpgradeState state = {.upgradeStage = stage};
    if (stage == DJI_UPGRADE_STAGE_ONGOING)
        state.upgradeOngoingInfo.upgradeProgress = (uint8_t)value;
    else if (stage == DJI_UPGRADE_STAGE_DEVICE_REBOOT)
        state.upgradeRebootInfo.rebootTimeout = (uint8_t)value;
    else
        state.upgradeEndInfo.upgradeEndState = (E_DjiUpgradeEndState)value;
    DjiUpgrade_PushUpgradeState(&state);
}

/* Over FTP the file is what lies in the store. */
static void find_received(void)
{
    DIR *store = opendir(options.store);
    struct dirent *entry;
    while (store && (entry = readdir(store)))
        if (strstr(entry->d_name, ".bin"))
            snprintf(received, sizeof received, "%s/%s", options.store, entry->d_name);
    if (store)
        closedir(store);
}

static int copy_over_program(void)
{
    char buffer[1 << 16];
    ssize_t count = -1;
    int from = open(received, O_RDONLY | O_CLOEXEC);
    unlink(options.program);
    int to = open(options.program, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0777);
    while (from >= 0 && to >= 0 && (count = read(from, buffer, sizeof buffer)) > 0)
        if (write(to, buffer, (size_t)count) != count)
            break;
    if (from >= 0)
        close(from);
    if (to >= 0) {
        fchmod(to, 0777);
        close(to);
    }
    return count == 0 ? 0 : -1;
}

static void restart(void)
{
    int state = open(STATE_FILE, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (state >= 0)
        close(state);
    execv(options.program, options.argv);
    perror(options.program);
    _exit(1);
}

static void upgrade(void)
{
    if (options.ftp_port)
        find_received();
    if (copy_over_program() != 0) {
        perror(received);
        push(DJI_UPGRADE_STAGE_END, DJI_UPGRADE_END_STATE_UNKNOWN_ERROR);
        return;
    }
    for (int percent = 20; percent <= 100; percent += 10) {
        push(DJI_UPGRADE_STAGE_ONGOING, percent);
        sleep_ms(options.second_ms);
    }
    push(DJI_UPGRADE_STAGE_DEVICE_REBOOT, REBOOT_SECONDS);
    restart();
}

static void *upgrade_thread(void *unused)
{
    bool reporting = access(STATE_FILE, F_OK) == 0;
    for (;; sleep_ms(options.second_ms / 2)) {
        if (reporting && atomic_exchange(&report_seen, false)) {
            unlink(STATE_FILE);
            reporting = false;
        }
        if (reporting)
            push(DJI_UPGRADE_STAGE_END, DJI_UPGRADE_END_STATE_SUCCESS);
        if (atomic_exchange(&upgrade_started, false))
            upgrade();
    }
    return unused;
}

/* ---- the start ---- */

static T_DjiReturnCode start_upgrade_module(void)
{
    T_DjiUpgradeConfig config = {
        .currentFirmwareVersion = {version[0], version[1], version[2], version[3]},
        .firmwareTransferInfo =
            {
                .transferType = options.ftp_port ? DJI_FIRMWARE_TRANSFER_TYPE_FTP
                                                 : DJI_FIRMWARE_TRANSFER_TYPE_DCFTP,
                .ftpTransferInfo = {.port = (uint32_t)options.ftp_port},
                .dcftpFileTransferOpt = {on_file_start, on_file_data, on_file_finish},
            },
    };
    static const T_DjiUpgradeHandler handler = {on_enter, on_check, on_start, on_finish};
    T_DjiReturnCode code = DjiUpgrade_Init(&config);
    if (code == OK)
        code = DjiUpgrade_RegHandler(&handler);
    return code == OK ? DjiUpgrade_EnableLocalUpgrade() : code;
}

static T_DjiReturnCode print(const uint8_t *line, uint16_t length)
{
    return write(STDERR_FILENO, line, length) == length ? OK : FAILED;
}

static void require(T_DjiReturnCode code, const char *what)
{
    if (code == OK)
        return;
    fprintf(stderr, "%s: %llX\n", what, (unsigned long long)code);
    exit(1);
}

static void read_options(int argc, char **argv)
{
    int option;
    options.argv = argv;
    while ((option = getopt(argc, argv, "d:b:s:p:f:w:t:")) != -1) {
        switch (option) {
        case 'd':
            options.device = optarg;
            break;
        case 'b':
            options.baud = optarg;
            break;
        case 's':
            options.store = optarg;
            break;
        case 'p':
            options.program = optarg;
            break;
        case 'f':
            options.ftp_port = strtol(optarg, NULL, 10);
            break;
        case 'w':
            options.wait_seconds = strtol(optarg, NULL, 10);
            break;
        case 't':
            options.second_ms = strtol(optarg, NULL, 10);
            break;
        default:
            exit(2);
        }
    }
    if (options.device && options.store && options.program)
        return;
    fputs("usage: sample-way -d DEVICE -s STORE -p PROGRAM [-b BAUD] [-f FTP_PORT]\n"
          "                  [-w SECONDS_TO_WAIT] [-t MILLISECONDS_OF_A_SECOND]\n", stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    T_DjiUserInfo user = {.appName = "sample-way"};
    T_DjiLoggerConsole console = {.func = print, .consoleLevel = DJI_LOGGER_CONSOLE_LOG_LEVEL_INFO};
    pthread_t thread;
    read_options(argc, argv);
    snprintf(user.baudRate, sizeof user.baudRate, "%s", options.baud);
    require(osal_register(), "OSAL");
    require(DjiLogger_AddConsole(&console), "console");
    require(uart_register(options.device), "UART");
    require(DjiCore_Init(&user), "core");
    require(start_upgrade_module(), "upgrade");
    require(DjiCore_ApplicationStart(), "start");
    pthread_create(&thread, NULL, clear_thread, NULL);
    pthread_create(&thread, NULL, upgrade_thread, NULL);
    while (!uart_is_lost())
        sleep_ms(100);
    return 0;
}
