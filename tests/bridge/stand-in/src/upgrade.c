/* The upgrade: requests, callbacks and answers (sections 4 to 6). */
#include "stand_in.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SET_GENERAL 0x00
#define CONTROL 0x41
#define STATUS 0x42
#define VERSION 0x4F
#define PRESENCE 0x82
#define ENTER 0x83
#define TRANSFERRED 0x84
#define CHECK 0x85
#define DCFTP 0x2A

#define SET_SERVICE 0x3C
#define SERVICE_INFO 0x45

#define AIRCRAFT 0xED
#define PC 0x2A

#define LARGEST_CHUNK 1005
#define NONE_YET 0xFFFFFFFF

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static T_DjiUpgradeConfig config;
static T_DjiUpgradeHandler handler;
static bool is_initialised, is_enabled;

/* Of the callback thread alone. */
static bool is_receiving;
static uint32_t last_good = NONE_YET;

/* What the application has said until now. */
struct said {
    bool initialised, enabled;
    T_DjiUpgradeConfig config;
    T_DjiUpgradeHandler handler; /* of null pointers where none is registered */
};

static struct said said(void)
{
    pthread_mutex_lock(&lock);
    struct said now = {is_initialised, is_enabled, config, handler};
    pthread_mutex_unlock(&lock);
    return now;
}

static bool is_valid(const T_DjiUpgradeConfig *given)
{
    if (!given)
        return false;
    const T_DjiFirmwareTransferInfo *info = &given->firmwareTransferInfo;
    const T_DjiUpgradeDcftpFileTransferOpt *dcftp = &info->dcftpFileTransferOpt;
    switch (info->transferType) {
    case DJI_FIRMWARE_TRANSFER_TYPE_FTP:
        return true;
    case DJI_FIRMWARE_TRANSFER_TYPE_DCFTP:
        return dcftp->start && dcftp->transfer && dcftp->finish;
    default:
        return false;
    }
}

T_DjiReturnCode DjiUpgrade_Init(const T_DjiUpgradeConfig *upgradeConfig)
{
    if (!is_valid(upgradeConfig))
        return INVALID;
    T_DjiReturnCode code = core_upgrade_code();
    if (code != OK)
        return code;
    pthread_mutex_lock(&lock);
    if (is_initialised) {
        code = DJI_ERROR_SYSTEM_MODULE_CODE_DUPLICATE;
        /* And yet: from now on the host is told this one. */
        config.currentFirmwareVersion = upgradeConfig->currentFirmwareVersion;
    } else {
        config = *upgradeConfig;
        is_initialised = true;
    }
    pthread_mutex_unlock(&lock);
    return code;
}

T_DjiReturnCode DjiUpgrade_EnableLocalUpgrade(void)
{
    pthread_mutex_lock(&lock);
    is_enabled = true;
    pthread_mutex_unlock(&lock);
    return OK;
}

T_DjiReturnCode DjiUpgrade_RegHandler(const T_DjiUpgradeHandler *upgradeHandler)
{
    if (!upgradeHandler || !upgradeHandler->EnterUpgradeMode || !upgradeHandler->CheckFirmware ||
        !upgradeHandler->StartUpgrade || !upgradeHandler->FinishUpgrade)
        return INVALID;
    pthread_mutex_lock(&lock);
    handler = *upgradeHandler;
    pthread_mutex_unlock(&lock);
    return OK;
}

static T_DjiReturnCode push(uint8_t from, uint8_t to, uint8_t id, const uint8_t *bytes,
                            uint16_t length)
{
    struct wire_frame frame = {
        .sender = from,
        .receiver = to,
        .sequence = link_next_sequence(),
        .flags = WIRE_PUSH,
        .set = SET_GENERAL,
        .id = id,
        .length = length,
    };
    memcpy(frame.payload, bytes, length);
    return link_send(&frame);
}

void upgrade_push_presence(void)
{
    struct said now = said();
    struct port port;
    const uint8_t bytes[64] = "psdk";
    if (now.initialised && now.enabled && core_is_up(&port))
        push(port.address, AIRCRAFT, PRESENCE, bytes, sizeof bytes);
}

/* Returns how long the status is. */
static uint16_t status_of(const T_DjiUpgradeState *state, uint8_t out[11])
{
    memset(out, 0, 11);
    out[0] = (uint8_t)state->upgradeStage;
    switch (state->upgradeStage) {
    case DJI_UPGRADE_STAGE_ONGOING:
        out[1] = state->upgradeOngoingInfo.upgradeProgress;
        break;
    case DJI_UPGRADE_STAGE_DEVICE_REBOOT:
        out[1] = state->upgradeRebootInfo.rebootTimeout;
        break;
    case DJI_UPGRADE_STAGE_END:
        out[1] = (uint8_t)state->upgradeEndInfo.upgradeEndState;
        if (out[1] != DJI_UPGRADE_END_STATE_SUCCESS)
            memcpy(out + 2, (const uint8_t[]){0x01, 0x13}, 2);
        break;
    default:
        return 0;
    }
    return out[1] == 1 ? 3 : 11;
}

T_DjiReturnCode DjiUpgrade_PushUpgradeState(const T_DjiUpgradeState *upgradeState)
{
    struct port port;
    if (!core_is_up(&port) || !said().initialised) {
        /* The library does not survive it. */
        fputs("stand-in: DjiUpgrade_PushUpgradeState without a core that is up and a "
              "DjiUpgrade_Init that returned 0 or 103\n", stderr);
        abort();
    }
    uint8_t status[11];
    uint16_t length = upgradeState ? status_of(upgradeState, status) : 0;
    if (length == 0)
        return upgradeState ? OK : INVALID;
    T_DjiReturnCode code = push(port.address, AIRCRAFT, STATUS, status, length);
    return code == OK ? push(port.address, PC, STATUS, status, length) : code;
}

static void answer(const struct wire_frame *request, const uint8_t *bytes, uint16_t length)
{
    struct wire_frame frame = {
        .sender = request->receiver,
        .receiver = request->sender,
        .sequence = request->sequence,
        .flags = WIRE_ANSWER,
        .set = request->set,
        .id = request->id,
        .length = length,
    };
    memcpy(frame.payload, bytes, length);
    link_send(&frame);
}

static void answer_byte(const struct wire_frame *request, uint8_t byte)
{
    answer(request, &byte, 1);
}

static void tell_version(const struct wire_frame *request, T_DjiFirmwareVersion version)
{
    if (request->length < 1 || request->payload[0] != 0x04)
        return;
    uint8_t bytes[13] = {0};
    wire_put_u32(bytes + 1, 4);
    bytes[9] = version.debugVersion;
    bytes[10] = version.modifyVersion;
    bytes[11] = version.minorVersion;
    bytes[12] = version.majorVersion;
    answer(request, bytes, sizeof bytes);
}

static void enter(const struct wire_frame *request, const struct said *app)
{
    uint8_t bytes[11] = {0xCD};
    uint16_t wait = 0;
    if (app->handler.EnterUpgradeMode &&
        OBSERVED("EnterUpgradeMode", app->handler.EnterUpgradeMode(&wait)) == OK) {
        bool ftp = app->config.firmwareTransferInfo.transferType == DJI_FIRMWARE_TRANSFER_TYPE_FTP;
        bytes[0] = 0xC7;
        bytes[1] = ftp ? 1 : 2;
        wire_put_u16(bytes + 3, wait);
    }
    answer(request, bytes, sizeof bytes);
}

static void start_file(const struct wire_frame *request,
                       const T_DjiUpgradeDcftpFileTransferOpt *callbacks)
{
    T_DjiUpgradeFileInfo info = {.fileSize = wire_u32(request->payload + 1)};
    size_t length = request->payload[5];
    if (request->length < 6)
        length = 0;
    else if (length > request->length - 6U)
        length = request->length - 6U;
    memcpy(info.fileName, request->payload + 6, length);
    if (OBSERVED("start", callbacks->start(&info)) != OK) {
        is_receiving = false;
        answer_byte(request, 0x01);
        return;
    }
    is_receiving = true;
    last_good = NONE_YET;
    answer(request, (const uint8_t[]){0, 0, 1, 1, 0, 1, 0}, 7);
}

/* The next frame alone reaches the callback; one that failed is expected again. */
static void take_data(const struct wire_frame *request,
                      const T_DjiUpgradeDcftpFileTransferOpt *callbacks)
{
    uint8_t bytes[9] = {0};
    if (!is_receiving) {
        bytes[0] = 0x01;
        answer(request, bytes, sizeof bytes);
        return;
    }
    uint32_t number = wire_u32(request->payload + 1);
    bool has_data = request->length > 5 && request->length <= 5 + LARGEST_CHUNK;
    uint16_t length = (uint16_t)(request->length - 5);
    if (has_data && number == last_good + 1 &&
        OBSERVED("transfer", callbacks->transfer(request->payload + 5, length)) == OK)
        last_good = number;
    wire_put_u32(bytes + 1, last_good);
    wire_put_u32(bytes + 5, last_good + 1);
    answer(request, bytes, sizeof bytes);
}

static void finish_file(const struct wire_frame *request,
                        const T_DjiUpgradeDcftpFileTransferOpt *callbacks)
{
    T_DjiReturnCode code = OBSERVED("finish", callbacks->finish(request->payload + 1));
    answer_byte(request, code == OK ? 0x00 : 0x01);
}

static void dcftp(const struct wire_frame *request, const T_DjiFirmwareTransferInfo *info)
{
    const T_DjiUpgradeDcftpFileTransferOpt *callbacks = &info->dcftpFileTransferOpt;
    if (info->transferType != DJI_FIRMWARE_TRANSFER_TYPE_DCFTP)
        return;
    switch (request->payload[0]) {
    case 1:
        start_file(request, callbacks);
        break;
    case 2:
        take_data(request, callbacks);
        break;
    case 3:
        finish_file(request, callbacks);
        break;
    default:
        break;
    }
}

static void tell_where(const struct wire_frame *request, const T_DjiFirmwareTransferInfo *info)
{
    uint8_t bytes[71] = {0};
    if (info->transferType == DJI_FIRMWARE_TRANSFER_TYPE_DCFTP) {
        answer_byte(request, 0x00);
        return;
    }
    wire_put_u16(bytes + 5, (uint16_t)info->ftpTransferInfo.port);
    answer(request, bytes, sizeof bytes);
}

static void check(const struct wire_frame *request, const T_DjiUpgradeHandler *callbacks)
{
    if (!callbacks->CheckFirmware || OBSERVED("CheckFirmware", callbacks->CheckFirmware()) != OK)
        answer_byte(request, 0xF2);
    else
        answer_byte(request, OBSERVED("StartUpgrade", callbacks->StartUpgrade()) == OK ? 0x06 : 0xFF);
}

static void general(const struct wire_frame *request, const struct said *app)
{
    const T_DjiFirmwareTransferInfo *info = &app->config.firmwareTransferInfo;
    switch (request->id) {
    case VERSION:
        tell_version(request, app->config.currentFirmwareVersion);
        break;
    case ENTER:
        enter(request, app);
        break;
    case DCFTP:
        dcftp(request, info);
        break;
    case TRANSFERRED:
        tell_where(request, info);
        break;
    case CHECK:
        check(request, &app->handler);
        break;
    case CONTROL:
        if (request->payload[0] == 0x04 && app->handler.FinishUpgrade)
            OBSERVED("FinishUpgrade", app->handler.FinishUpgrade());
        break;
    default:
        break;
    }
}

void upgrade_request(const struct wire_frame *received)
{
    /* What a short frame lacks counts as zeros. */
    struct wire_frame request = *received;
    memset(request.payload + request.length, 0, sizeof request.payload - request.length);
    struct said app = said();
    if (!app.initialised)
        return;
    if (request.set == SET_GENERAL)
        general(&request, &app);
    else if (request.set == SET_SERVICE && request.id == SERVICE_INFO)
        answer(&request, (const uint8_t[]){0, 0}, 2);
}
