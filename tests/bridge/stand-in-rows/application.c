#include "application.h"

#include <stdlib.h>
#include <string.h>

#include "osal.h"

atomic_uint entered, started, transferred, finished, checked, begun, ended;
atomic_bool fail_enter, fail_start, fail_transfer, fail_finish, fail_check, fail_begin;
atomic_long block_ms;
atomic_bool push_inside;
atomic_uint wrong_thread;
T_DjiUpgradeFileInfo file_info;
uint8_t chunk[1200];
atomic_uint chunk_length;
static T_DjiReturnCode core_code;
static pthread_t application;
static T_DjiOsalHandler hooks;
uint32_t root_stack;
atomic_bool has_linker;

static T_DjiReturnCode create_task(const char *name, void *(*function)(void *), uint32_t stack,
                                   void *argument, T_DjiTaskHandle *task)
{
    if (strcmp(name, "root_task") == 0)
        root_stack = stack;
    if (strcmp(name, "linker_task") == 0)
        has_linker = true;
    return hooks.TaskCreate(name, function, stack, argument, task);
}

static T_DjiReturnCode called(atomic_uint *count, atomic_bool *fails)
{
    char name[16];
    pthread_getname_np(pthread_self(), name, sizeof name);
    wrong_thread += strcmp(name, "root_task") != 0;
    *count += 1;
    sleep_ms(block_ms);
    if (push_inside)
        DjiUpgrade_PushUpgradeState(
            &(T_DjiUpgradeState){DJI_UPGRADE_STAGE_ONGOING, .upgradeOngoingInfo = {7}});
    return fails && *fails ? EC : OK;
}

static T_DjiReturnCode on_enter(uint16_t *wait)
{
    *wait = 0x0201;
    return called(&entered, &fail_enter);
}

static T_DjiReturnCode on_start(const T_DjiUpgradeFileInfo *info)
{
    file_info = *info;
    return called(&started, &fail_start);
}

static T_DjiReturnCode on_transfer(const uint8_t *data, uint16_t length)
{
    memcpy(chunk, data, length);
    chunk_length = length;
    return called(&transferred, &fail_transfer);
}

static T_DjiReturnCode on_finish(const uint8_t md5[DJI_MD5_BUFFER_LEN])
{
    CHECK(md5[0] == 0xA0 && md5[15] == 0xAF);
    return called(&finished, &fail_finish);
}

static T_DjiReturnCode on_check(void)
{
    return called(&checked, &fail_check);
}

static T_DjiReturnCode on_begin(void)
{
    return called(&begun, &fail_begin);
}

static T_DjiReturnCode on_end(void)
{
    return called(&ended, NULL);
}

const T_DjiUpgradeHandler handler = {on_enter, on_check, on_begin, on_end};

T_DjiUpgradeConfig config(E_DjiFirmwareTransferType transfer, uint8_t major)
{
    T_DjiUpgradeConfig config = {
        .currentFirmwareVersion = {major, 2, 3, 4},
        .firmwareTransferInfo = {transfer, {0x12345}, {on_start, on_transfer, on_finish}},
    };
    return config;
}

T_DjiReturnCode init_as(E_DjiFirmwareTransferType transfer, uint8_t major)
{
    T_DjiUpgradeConfig wanted = config(transfer, major);
    return DjiUpgrade_Init(&wanted);
}

bool over_usb;

void register_hooks(void)
{
    CHECK(osal_register() == OK);
    hooks = *DjiPlatform_GetOsalHandler();
    T_DjiOsalHandler watched = hooks;
    watched.TaskCreate = create_task;
    CHECK(DjiPlatform_RegOsalHandler(&watched) == OK);
    CHECK((over_usb ? DjiPlatform_RegHalUsbBulkHandler(&host_bulk_hooks)
                    : DjiPlatform_RegHalUartHandler(&host_line_hooks)) == OK);
}

T_DjiReturnCode init_core(void)
{
    T_DjiUserInfo user = {.baudRate = "460800"};
    return DjiCore_Init(&user);
}

static void *run_core(void *unused)
{
    core_code = init_core();
    return unused;
}

void start_core(void)
{
    register_hooks();
    pthread_create(&application, NULL, run_core, NULL);
}

T_DjiReturnCode await_core(void)
{
    pthread_join(application, NULL);
    return core_code;
}

void start_all(E_DjiFirmwareTransferType transfer)
{
    start_core();
    be_aircraft(0xE5, 0x65, 60);
    CHECK(await_core() == OK);
    payload_address = 0x13;
    CHECK(init_as(transfer, 1) == OK);
    CHECK(DjiUpgrade_RegHandler(&handler) == OK);
    CHECK(DjiUpgrade_EnableLocalUpgrade() == OK);
    CHECK(DjiCore_ApplicationStart() == OK);
}

