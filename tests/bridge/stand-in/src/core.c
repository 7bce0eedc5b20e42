/* The core: how an application starts (section 3), and the one thread of all callbacks with its
 * queue (section 5). */
#include "stand_in.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_TASK_STACK 4096
#define PRESENCE_MS 1100
/* Ours; 60 and more were seen. */
#define MOST_REQUESTS 4096

enum phase { DOWN, SEARCHING, FOUND };

struct request {
    struct request *next;
    struct wire_frame frame;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum phase phase;
static struct port port;
static struct request *first, **last = &first;
static int waiting;
static T_DjiSemaHandle was_found, was_queued;
static T_DjiTaskHandle root, linker;

void core_found(const struct port *answered)
{
    pthread_mutex_lock(&lock);
    port = *answered;
    phase = FOUND;
    pthread_mutex_unlock(&lock);
    OSAL->SemaphorePost(was_found);
}

bool core_is_up(struct port *answered)
{
    pthread_mutex_lock(&lock);
    bool is_up = phase == FOUND && port.core == OK;
    *answered = port;
    pthread_mutex_unlock(&lock);
    return is_up;
}

T_DjiReturnCode core_upgrade_code(void)
{
    pthread_mutex_lock(&lock);
    T_DjiReturnCode code = phase == FOUND ? port.upgrade : INVALID;
    pthread_mutex_unlock(&lock);
    return code;
}

void core_queue(const struct wire_frame *frame)
{
    struct request *request = OSAL->Malloc(sizeof *request);
    if (!request)
        return;
    request->next = NULL;
    request->frame = *frame;
    pthread_mutex_lock(&lock);
    bool room = waiting < MOST_REQUESTS;
    if (room) {
        *last = request;
        last = &request->next;
        waiting++;
    }
    pthread_mutex_unlock(&lock);
    if (room)
        OSAL->SemaphorePost(was_queued);
    else
        OSAL->Free(request);
}

static struct request *take_request(void)
{
    pthread_mutex_lock(&lock);
    struct request *request = first;
    if (request) {
        first = request->next;
        if (!first)
            last = &first;
        waiting--;
    }
    pthread_mutex_unlock(&lock);
    return request;
}

/* Carries out one request after the other, repetitions too, and tells between two of them that the
 * payload is there: a callback that blocks stops both. */
static void *root_task(void *unused)
{
    (void)unused;
    uint32_t told = 0;
    OSAL->GetTimeMs(&told);
    for (;;) {
        uint32_t now = 0;
        OSAL->GetTimeMs(&now);
        if (now - told >= PRESENCE_MS) {
            upgrade_push_presence();
            told = now;
        }
        if (OSAL->SemaphoreTimedWait(was_queued, PRESENCE_MS - (now - told)) != OK)
            continue;
        struct request *request = take_request();
        if (request) {
            upgrade_request(&request->frame);
            OSAL->Free(request);
        }
    }
    return NULL;
}

/* The configured rate, or 0 for one that no port has. */
static uint32_t rate_of(const T_DjiUserInfo *user)
{
    char text[sizeof user->baudRate + 1] = "";
    memcpy(text, user->baudRate, sizeof user->baudRate);
    char *end;
    unsigned long rate = strtoul(text, &end, 10);
    return end != text && *end == '\0' && rate <= 1000000 ? (uint32_t)rate : 0;
}

static T_DjiReturnCode start_tasks(void)
{
    T_DjiReturnCode code = OSAL->SemaphoreCreate(0, &was_found);
    if (code == OK)
        code = OSAL->SemaphoreCreate(0, &was_queued);
    if (code == OK)
        code = OSAL->TaskCreate("root_task", root_task, ROOT_TASK_STACK, NULL, &root);
    if (code == OK)
        code = OSAL->TaskCreate("linker_task", linker_task, LINKER_TASK_STACK, NULL, &linker);
    return code;
}

static void verify_identity(void)
{
    const char *wait = getenv("PSDK_STAND_IN_VERIFY_MS");
    if (!wait)
        return;
    while (strcmp(wait, "never") == 0)
        OSAL->TaskSleepMs(1000);
    OSAL->TaskSleepMs((uint32_t)strtoul(wait, NULL, 10));
}

/* Once; again only after a port that could not be opened. */
static bool begin(void)
{
    pthread_mutex_lock(&lock);
    bool begins = phase == DOWN;
    phase = begins ? SEARCHING : phase;
    pthread_mutex_unlock(&lock);
    return begins;
}

static void back_down(void)
{
    pthread_mutex_lock(&lock);
    phase = DOWN;
    pthread_mutex_unlock(&lock);
}

T_DjiReturnCode DjiCore_Init(const T_DjiUserInfo *userInfo)
{
    bool has_link = stand_in_uart() || DjiPlatform_GetHalUsbBulkHandler();
    uint32_t rate = userInfo ? rate_of(userInfo) : 0;
    if (!OSAL || !has_link || rate == 0)
        return INVALID;
    if (!begin())
        return DJI_ERROR_SYSTEM_MODULE_CODE_DUPLICATE;
    if (link_open(rate) != OK) {
        DjiLogger_UserLogOutput(DJI_LOGGER_CONSOLE_LOG_LEVEL_ERROR,
                                "stand-in: the port can't be opened");
        OSAL->TaskSleepMs(100);
        back_down();
        return DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR;
    }
    T_DjiReturnCode code = start_tasks();
    if (code != OK)
        return code;
    OSAL->SemaphoreWait(was_found);
    struct port answered;
    bool is_up = core_is_up(&answered);
    DjiLogger_UserLogOutput(is_up ? DJI_LOGGER_CONSOLE_LOG_LEVEL_INFO
                                  : DJI_LOGGER_CONSOLE_LOG_LEVEL_ERROR,
                            is_up ? "stand-in: the aircraft is found, the payload is device %02X"
                                  : "stand-in: not a port that the library works on (%02X)",
                            answered.address);
    if (is_up)
        verify_identity();
    return answered.core;
}

T_DjiReturnCode DjiCore_SetAlias(const char *productAlias)
{
    return productAlias ? OK : INVALID;
}

/* What the aircraft's apps show, and not what the upgrade answers. */
T_DjiReturnCode DjiCore_SetFirmwareVersion(T_DjiFirmwareVersion version)
{
    (void)version;
    return OK;
}

T_DjiReturnCode DjiCore_SetSerialNumber(const char *productSerialNumber)
{
    return productSerialNumber && strlen(productSerialNumber) <= 32 ? OK : INVALID;
}

T_DjiReturnCode DjiCore_ApplicationStart(void)
{
    struct port answered;
    return core_is_up(&answered) ? OK : DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR;
}

/* Can't be relied on (section 7), so here it never can. */
T_DjiReturnCode DjiCore_DeInit(void)
{
    return DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR;
}
