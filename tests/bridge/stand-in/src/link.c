/* The application's port, and the thread that looks for the aircraft and reads (sections 2 and 5). */
#include "stand_in.h"

#define RATES 5
#define PROBES 5
#define PROBE_MS 20
#define SILENT_V3_MS 1000
#define SILENT_AA_MS 600

static const struct route PAYLOAD_PORT = {0xE5, 0x65};
static const struct route EPORT = {0xCA, 0x03};
static const struct route EPORT_LITE = {0xEA, 0x03};
static const uint32_t rates[RATES] = {115200, 230400, 460800, 921600, 1000000};

static uint32_t configured_rate, rate;
static void *handle;
static bool is_open;
static T_DjiMutexHandle sending;
static uint16_t sequence;
static struct wire_inbox inbox;
static bool found;

static T_DjiReturnCode open_port(uint32_t wanted)
{
    T_DjiReturnCode code;
    if (stand_in_uart()) {
        code = stand_in_uart()->UartInit(DJI_HAL_UART_NUM_0, wanted, &handle);
    } else {
        T_DjiHalUsbBulkDeviceInfo device;
        code = DjiPlatform_GetHalUsbBulkHandler()->UsbBulkGetDeviceInfo(&device);
        if (code != OK)
            return code;
        T_DjiHalUsbBulkInfo info = {
            .isUsbHost = false,
            .pid = device.pid,
            .vid = device.vid,
            .channelInfo = device.channelInfo[0],
        };
        code = DjiPlatform_GetHalUsbBulkHandler()->UsbBulkInit(info, &handle);
    }
    is_open = code == OK;
    rate = wanted;
    return code;
}

static void close_port(void)
{
    if (is_open && stand_in_uart())
        stand_in_uart()->UartDeInit(handle);
    else if (is_open)
        DjiPlatform_GetHalUsbBulkHandler()->UsbBulkDeInit(handle);
    is_open = false;
}

T_DjiReturnCode link_open(uint32_t wanted)
{
    configured_rate = wanted;
    T_DjiReturnCode code = open_port(wanted);
    return code != OK || sending ? code : OSAL->MutexCreate(&sending);
}

/* The interface knows no change of the rate. */
static void set_rate(uint32_t wanted)
{
    if (is_open && wanted == rate)
        return;
    OSAL->MutexLock(sending);
    close_port();
    open_port(wanted);
    OSAL->MutexUnlock(sending);
}

T_DjiReturnCode link_send(const struct wire_frame *frame)
{
    uint8_t bytes[WIRE_LONGEST];
    uint32_t length = (uint32_t)wire_encode(frame, bytes);
    uint32_t written = 0;
    T_DjiReturnCode code = DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR;
    /* One frame at a time: whoever pushes, nothing is mixed. */
    OSAL->MutexLock(sending);
    if (is_open && stand_in_uart())
        code = stand_in_uart()->UartWriteData(handle, bytes, length, &written);
    else if (is_open)
        code = DjiPlatform_GetHalUsbBulkHandler()->UsbBulkWriteData(handle, bytes, length,
                                                                    &written);
    OSAL->MutexUnlock(sending);
    if (code == OK && written != length)
        code = DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR;
    return code;
}

uint16_t link_next_sequence(void)
{
    OSAL->MutexLock(sending);
    uint16_t next = ++sequence;
    OSAL->MutexUnlock(sending);
    return next;
}

static void take_answer(const struct wire_frame *frame)
{
    struct route route = {.from = frame->receiver, .to = frame->sender};
    struct port port;
    if (frame->length < 1 || !aircraft_port(route, frame->payload[0], &port))
        return;
    /* The first one decides for good. */
    found = true;
    core_found(&port);
}

static void notice(const struct wire_frame *frame)
{
    bool is_answer = frame->flags & WIRE_ANSWER;
    struct port port;
    if (!found && is_answer && frame->set == 0x03 && frame->id == 0xFD)
        take_answer(frame);
    else if (!is_answer && core_is_up(&port) && port.answers && frame->receiver == port.address)
        core_queue(frame);
}

static void read_port(void)
{
    size_t room;
    uint8_t *at = wire_room(&inbox, &room);
    uint32_t count = 0;
    T_DjiReturnCode code = DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR;
    if (is_open && stand_in_uart())
        code = stand_in_uart()->UartReadData(handle, at, (uint32_t)room, &count);
    else if (is_open)
        code = DjiPlatform_GetHalUsbBulkHandler()->UsbBulkReadData(handle, at, (uint32_t)room,
                                                                   &count);
    if (code != OK || count > room)
        return;
    inbox.count += count;
    struct wire_frame frame;
    while (wire_next(&inbox, &frame))
        notice(&frame);
}

static uint32_t now_ms(void)
{
    uint32_t now = 0;
    OSAL->GetTimeMs(&now);
    return now;
}

/* Without a pause between two reads. */
static void read_for(uint32_t ms)
{
    uint32_t began = now_ms();
    do
        read_port();
    while (!found && now_ms() - began < ms);
}

static void probe(struct route route, uint32_t at_rate)
{
    if (found)
        return;
    set_rate(at_rate);
    struct wire_frame frame = {
        .sender = route.from,
        .receiver = route.to,
        .flags = WIRE_REQUEST,
        .set = 0x03,
        .id = 0xFD,
    };
    for (int i = 0; i < PROBES && !found; i++) {
        frame.sequence = link_next_sequence();
        link_send(&frame);
        read_for(PROBE_MS);
    }
}

static void probe_at_all(struct route route)
{
    for (int i = 0; i < RATES; i++)
        probe(route, rates[i]);
}

static void search(void)
{
    probe(EPORT, configured_rate);
    probe_at_all(PAYLOAD_PORT);
    probe_at_all(EPORT);
    read_for(found ? 0 : SILENT_V3_MS);
    probe_at_all(EPORT_LITE);
    read_for(found ? 0 : SILENT_AA_MS);
}

void *linker_task(void *unused)
{
    (void)unused;
    while (!found)
        search();
    for (;;) {
        OSAL->TaskSleepMs(1);
        read_port();
    }
    return NULL;
}
