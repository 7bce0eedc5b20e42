/* Fuzzes what the bridge makes of a daemon's bytes: they come in pieces, at every step of an
 * upgrade, with steps of the host between them. The first bytes of an input say where it begins. */

#include "uplift_psdk.c"

#include <stdlib.h>

#include "no_library.h"

T_DjiReturnCode DjiUpgrade_PushUpgradeState(const T_DjiUpgradeState *state)
{
    const unsigned value = state->upgradeOngoingInfo.upgradeProgress;

    if (state->upgradeStage == DJI_UPGRADE_STAGE_ONGOING && value > 100U) {
        abort();
    }
    return 0;
}

static int sockets[2];

/* One line, whole characters: whatever the daemon's text was. */
static void check_line(void *context, enum uplift_psdk_level level, const char *line)
{
    (void)context;
    (void)level;
    for (; *line != '\0'; line++) {
        if ((unsigned char)*line < 0x20U) {
            abort();
        }
    }
}

static void check_job(void)
{
    if (job.kept > job.sent || job.sent > job.received || job.received - job.kept > WINDOW_BYTES) {
        abort();
    }
}

static void read_all(void)
{
    static char bytes[65536];

    while (recv(sockets[1], bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
}

/* The file's end, and the right MD5 where a bit says so: no fuzzer finds it. */
static void finish_somehow(bool well)
{
    struct md5 running = job.md5;
    uint8_t digest[MD5_BYTES] = { 0 };

    if (well && job.step == STEP_FILE) {
        job.size = job.received;
        md5_end(&running, digest);
    }
    (void)on_finish(digest);
}

static void host_step(uint8_t choice)
{
    static const uint8_t chunk[5000] = { 1 };
    static const T_DjiUpgradeFileInfo file = { 100000, "name" };
    uint16_t wait;

    switch (choice % 8U) {
    case 0:
        (void)on_enter(&wait);
        break;
    case 1:
        (void)on_start(&file);
        break;
    case 2:
    case 3:
        (void)on_transfer(chunk, (uint16_t)(choice * 19U + 1U));
        break;
    case 4:
        finish_somehow((choice & 8U) != 0U);
        break;
    case 5:
        (void)on_check();
        break;
    case 6:
        (void)on_start_upgrade();
        break;
    default:
        (void)on_finish_upgrade();
        break;
    }
}

static void begin_again(uint8_t facts)
{
    if (wake_fd < 0) {
        (void)pthread_once(&once, prepare_once);
        (void)socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sockets);
    }
    read_all();
    begin_anew();
    bridge.config.log = check_line;
    bridge.config.answer_wait_ms = 0;
    bridge.facts = facts;
    bridge.has_report = false;
    job.kept = 0;
    job.sent = 0;
    job.received = 0;
    wire.out_from = 0;
    wire.out_to = 0;
    begin_connection(sockets[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t welcome[15] = { KIND_WELCOME, 1, 11, 0, 1, 0, 1, 1, 1, 0, 0, 0, 2, 21, 0 };
    bool good = true;
    size_t at = 1;

    if (size == 0U) {
        return 0;
    }
    begin_again(data[0] & 3U);
    if ((data[0] & 4U) != 0U) {
        (void)memcpy(in.bytes, welcome, sizeof welcome);
        in.length = sizeof welcome;
        good = handle_messages();
    }
    /* A piece: a step of the host, a length, and so many bytes of the daemon. */
    while (good && !wire.broken && size - at >= 2U) {
        size_t piece = at_most(data[at + 1], (uint32_t)(size - at - 2U));

        piece = at_most((uint32_t)piece, (uint32_t)(sizeof in.bytes - in.length));
        host_step(data[at]);
        read_all();
        (void)memcpy(in.bytes + in.length, data + at + 2, piece);
        in.length += piece;
        good = handle_messages();
        send_what_fits();
        keep_version();
        say_notes();
        check_job();
        at += 2U + piece;
    }
    return 0;
}
