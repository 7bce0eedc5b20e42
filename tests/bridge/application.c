/* The application of the bridge's tests: it does line by line what the test says on its standard
 * input, plays the vendor's library, and tells what it saw. An answer begins with '=', what the
 * bridge did by itself with '!'. Callbacks run on one thread with a small stack, as the library's
 * do. */

/* Included, so that a test can have a callback wait longer than an application may. */
#include "uplift_psdk.c"

#include <stdlib.h>

#define LINE_BYTES 140000

static T_DjiUpgradeConfig library;
static T_DjiUpgradeHandler handler;
static T_DjiReturnCode init_code;
static unsigned restart_ms;
static int stop_at_restart;
static pthread_mutex_t printing = PTHREAD_MUTEX_INITIALIZER;

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
}

static void sleep_ms(unsigned ms)
{
    struct timespec time = { (time_t)(ms / 1000U), (long)(ms % 1000U) * 1000000L };

    nanosleep(&time, NULL);
}

static void tell(const char *what, const char *text)
{
    pthread_mutex_lock(&printing);
    printf("%s %s\n", what, text);
    fflush(stdout);
    pthread_mutex_unlock(&printing);
}

/* ---- The vendor's functions ---- */

T_DjiReturnCode DjiUpgrade_Init(const T_DjiUpgradeConfig *config)
{
    static int times;
    char text[100];
    const T_DjiFirmwareVersion v = config->currentFirmwareVersion;
    T_DjiReturnCode code = init_code;

    snprintf(text, sizeof text, "init %u.%u.%u.%u %d %u", v.majorVersion, v.minorVersion,
             v.modifyVersion, v.debugVersion, (int)config->firmwareTransferInfo.transferType,
             config->firmwareTransferInfo.ftpTransferInfo.port);
    if (code == 0U) {
        library = *config;
        code = times++ > 0 ? (((T_DjiReturnCode)7 << 32) | 0x103U) : 0U;
    }
    tell("!", text);
    return code;
}

T_DjiReturnCode DjiUpgrade_RegHandler(const T_DjiUpgradeHandler *given)
{
    handler = *given;
    tell("!", "handler");
    return 0;
}

T_DjiReturnCode DjiUpgrade_EnableLocalUpgrade(void)
{
    tell("!", "enable");
    return 0;
}

T_DjiReturnCode DjiUpgrade_PushUpgradeState(const T_DjiUpgradeState *state)
{
    char text[60];
    unsigned value = 0;

    switch (state->upgradeStage) {
    case DJI_UPGRADE_STAGE_ONGOING:
        value = state->upgradeOngoingInfo.upgradeProgress;
        break;
    case DJI_UPGRADE_STAGE_DEVICE_REBOOT:
        value = state->upgradeRebootInfo.rebootTimeout;
        break;
    case DJI_UPGRADE_STAGE_END:
        value = (unsigned)state->upgradeEndInfo.upgradeEndState;
        break;
    case DJI_UPGRADE_STAGE_IDLE:
    default:
        break;
    }
    snprintf(text, sizeof text, "push %d %u", (int)state->upgradeStage, value);
    tell("!", text);
    return 0;
}

T_DjiReturnCode DjiCore_SetFirmwareVersion(T_DjiFirmwareVersion v)
{
    char text[60];

    snprintf(text, sizeof text, "version %u.%u.%u.%u", v.majorVersion, v.minorVersion,
             v.modifyVersion, v.debugVersion);
    tell("!", text);
    return 0;
}

/* ---- What the bridge calls ---- */

static void on_log(void *context, enum uplift_psdk_level level, const char *line)
{
    char text[400];

    (void)context;
    snprintf(text, sizeof text, "log %d %s", (int)level, line);
    tell("!", text);
}

static void on_restart(void *context, uint16_t ms)
{
    char text[60];

    (void)context;
    snprintf(text, sizeof text, "restarting %u", ms);
    tell("!", text);
    sleep_ms(restart_ms);
    if (stop_at_restart) {
        uplift_psdk_stop();
    }
}

/* ---- Commands ---- */

static uint8_t bytes[LINE_BYTES / 2];

static uint8_t digit(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static size_t hex(const char *text)
{
    size_t count = 0;

    for (; text[0] != '\0' && text[1] != '\0'; text += 2) {
        bytes[count++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
    }
    return count;
}

static T_DjiReturnCode start_bridge(char *arguments)
{
    static char path[200];
    struct uplift_psdk_config config;
    unsigned v[4];
    unsigned transfer;
    unsigned port;
    unsigned wait;

    memset(&config, 0, sizeof config);
    if (sscanf(arguments, "%199s %u.%u.%u.%u %u %u %u", path, &v[0], &v[1], &v[2], &v[3], &transfer,
               &port, &wait) != 8) {
        return 1;
    }
    config.socket_path = path;
    config.application = "puppet";
    config.fallback_version.majorVersion = (uint8_t)v[0];
    config.fallback_version.minorVersion = (uint8_t)v[1];
    config.fallback_version.modifyVersion = (uint8_t)v[2];
    config.fallback_version.debugVersion = (uint8_t)v[3];
    config.transfer = (enum uplift_psdk_transfer)transfer;
    config.ftp_port = (uint16_t)port;
    config.start_wait_ms = (uint16_t)wait;
    config.enter_wait_s = 7;
    config.check_wait_ms = 100;
    config.log = on_log;
    config.about_to_restart = on_restart;
#ifdef BIG_STACK
    config.thread_stack = 1U << 20;
#endif
    return uplift_psdk_start(&config);
}

static T_DjiReturnCode begin_file(char *arguments)
{
    T_DjiUpgradeFileInfo file;
    unsigned long size = strtoul(arguments, &arguments, 10);
    size_t count = hex(*arguments == ' ' ? arguments + 1 : arguments);

    memset(&file, 0, sizeof file);
    file.fileSize = (uint32_t)size;
    memcpy(file.fileName, bytes, count < sizeof file.fileName ? count : sizeof file.fileName);
    return library.firmwareTransferInfo.dcftpFileTransferOpt.start(&file);
}

/* A whole file, as a patient host sends it. Answers how many chunks it repeated. */
static T_DjiReturnCode send_file(char *arguments, unsigned *repeated)
{
    const T_DjiUpgradeDcftpFileTransferOpt *to = &library.firmwareTransferInfo.dcftpFileTransferOpt;
    char path[200];
    unsigned chunk;
    unsigned pause;
    unsigned tries = 0;
    size_t count;
    FILE *file;

    if (sscanf(arguments, "%199s %u %u", path, &chunk, &pause) != 3 ||
        (file = fopen(path, "rb")) == NULL) {
        return 1;
    }
    *repeated = 0;
    while ((count = fread(bytes, 1, chunk, file)) > 0 && tries < 20000U) {
        tries = 0;
        while (to->transfer(bytes, (uint16_t)count) != 0U && tries < 20000U) {
            tries++;
            ++*repeated;
            sleep_ms(1);
        }
        if (pause > 0U) {
            struct timespec time = { 0, (long)pause * 1000L };
            nanosleep(&time, NULL);
        }
    }
    fclose(file);
    return tries < 20000U ? 0U : 2U;
}

/* The sample ends its threads like this, wherever they are. */
static void *chunks_for_ever(void *unused)
{
    int before;

    (void)unused;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
    for (;;) {
        (void)library.firmwareTransferInfo.dcftpFileTransferOpt.transfer((const uint8_t *)"x", 1);
        (void)handler.CheckFirmware();
    }
    return NULL;
}

static void cancel_threads(void)
{
    for (int i = 0; i < 200; i++) {
        pthread_t thread;

        pthread_create(&thread, NULL, chunks_for_ever, NULL);
        sleep_ms((unsigned)i % 3U);
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
}

static T_DjiReturnCode carry_out(char *line, char *extra, size_t room)
{
    const T_DjiUpgradeDcftpFileTransferOpt *to = &library.firmwareTransferInfo.dcftpFileTransferOpt;
    char *arguments = strchr(line, ' ');
    struct uplift_psdk_report report;
    T_DjiReturnCode code;
    uint16_t wait = 0;
    unsigned repeated = 0;

    arguments = arguments == NULL ? line + strlen(line) : arguments;
    if (*arguments == ' ') {
        *arguments++ = '\0';
    }
    if (strcmp(line, "start") == 0) {
        return start_bridge(arguments);
    } else if (strcmp(line, "stop") == 0) {
        uplift_psdk_stop();
    } else if (strcmp(line, "seen") == 0) {
        uplift_psdk_aircraft_seen();
    } else if (strcmp(line, "enter") == 0) {
        code = handler.EnterUpgradeMode(&wait);
        snprintf(extra, room, "%u", wait);
        return code;
    } else if (strcmp(line, "file") == 0) {
        return begin_file(arguments);
    } else if (strcmp(line, "chunk") == 0) {
        return to->transfer(bytes, (uint16_t)hex(arguments));
    } else if (strcmp(line, "finish") == 0) {
        (void)hex(arguments);
        return to->finish(bytes);
    } else if (strcmp(line, "send") == 0) {
        code = send_file(arguments, &repeated);
        snprintf(extra, room, "%u", repeated);
        return code;
    } else if (strcmp(line, "check") == 0) {
        return handler.CheckFirmware();
    } else if (strcmp(line, "go") == 0) {
        return handler.StartUpgrade();
    } else if (strcmp(line, "end") == 0) {
        return handler.FinishUpgrade();
    } else if (strcmp(line, "nulls") == 0) {
        return to->start(NULL) == 0xE3U && to->transfer(NULL, 1) == 0xE3U &&
                       to->finish(NULL) == 0xE3U && handler.EnterUpgradeMode(NULL) == 0xE3U &&
                       uplift_psdk_start(NULL) == 0xE3U
                   ? 0U
                   : 1U;
    } else if (strcmp(line, "report") == 0) {
        if (!uplift_psdk_last_report(&report)) {
            return 1;
        }
        snprintf(extra, room, "%d %u %u.%u.%u.%u %s", (int)report.outcome,
                 report.version_before.majorVersion, report.version_asked.majorVersion,
                 report.version_asked.minorVersion, report.version_asked.modifyVersion,
                 report.version_asked.debugVersion, report.text);
    } else if (strcmp(line, "init_code") == 0) {
        init_code = strtoull(arguments, NULL, 0);
    } else if (strcmp(line, "restart_ms") == 0) {
        restart_ms = (unsigned)strtoul(arguments, NULL, 10);
    } else if (strcmp(line, "stop_at_restart") == 0) {
        stop_at_restart = 1;
    } else if (strcmp(line, "cancel") == 0) {
        cancel_threads();
    } else {
        return 99;
    }
    return 0;
}

static void set_patience(uint16_t ms)
{
    const struct cancellation cancel = lock();

    bridge.config.answer_wait_ms = ms;
    bridge.config.check_wait_ms = ms;
    unlock(cancel);
}

/* A test that is about the answer, and not about the time, must not fail on a busy machine. */
static T_DjiReturnCode carry_out_patiently(char *line, char *extra, size_t room)
{
    static const char word[] = "patiently ";
    T_DjiReturnCode code;

    if (strncmp(line, word, sizeof word - 1U) != 0) {
        return carry_out(line, extra, room);
    }
    set_patience(10000);
    code = carry_out(line + sizeof word - 1U, extra, room);
    set_patience(100);
    return code;
}

static void *root_task(void *unused)
{
    static char line[LINE_BYTES];
    static char text[400];
    static char extra[300];

    while (fgets(line, sizeof line, stdin) != NULL) {
        uint64_t began;
        T_DjiReturnCode code;

        line[strcspn(line, "\n")] = '\0';
        extra[0] = '\0';
        began = now_us();
        code = carry_out_patiently(line, extra, sizeof extra);
        snprintf(text, sizeof text, "%llx %llu %s", (unsigned long long)code,
                 (unsigned long long)(now_us() - began), extra);
        tell("=", text);
    }
    return unused;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
#ifndef BIG_STACK
    pthread_attr_setstacksize(&attributes, 32768);
#endif
    pthread_create(&thread, &attributes, root_task, NULL);
    pthread_join(thread, NULL);
    uplift_psdk_stop();
    return 0;
}
