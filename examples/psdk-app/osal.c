#include "osal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#define OK DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS
#define FAILED DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR
#define NO_MEMORY DJI_ERROR_SYSTEM_MODULE_CODE_MEMORY_ALLOC_FAILED

static T_DjiReturnCode code_of(int error)
{
    return error == 0 ? OK : FAILED;
}

/* The stack size that the library asks for is for small machines: 4096 bytes, less than a thread may
 * have here. What the system gives is memory only as far as it is used. */
static T_DjiReturnCode task_create(const char *name, void *(*function)(void *), uint32_t stack_size,
                                   void *argument, T_DjiTaskHandle *task)
{
    (void)stack_size;
    pthread_t *thread = malloc(sizeof *thread);
    if (!thread)
        return NO_MEMORY;
    int error = pthread_create(thread, NULL, function, argument);
    if (error != 0) {
        free(thread);
        return FAILED;
    }
    /* Helps in a debugger, and no more: names that are too long are not set. */
    if (name)
        pthread_setname_np(*thread, name);
    *task = thread;
    return OK;
}

static T_DjiReturnCode task_destroy(T_DjiTaskHandle task)
{
    pthread_t *thread = task;
    if (!thread)
        return DJI_ERROR_SYSTEM_MODULE_CODE_INVALID_PARAMETER;
    int error = pthread_cancel(*thread);
    pthread_detach(*thread);
    free(thread);
    return code_of(error);
}

static T_DjiReturnCode task_sleep(uint32_t ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
    return OK;
}

static T_DjiReturnCode mutex_create(T_DjiMutexHandle *handle)
{
    pthread_mutex_t *mutex = malloc(sizeof *mutex);
    if (!mutex)
        return NO_MEMORY;
    pthread_mutex_init(mutex, NULL);
    *handle = mutex;
    return OK;
}

static T_DjiReturnCode mutex_destroy(T_DjiMutexHandle handle)
{
    int error = pthread_mutex_destroy(handle);
    free(handle);
    return code_of(error);
}

static T_DjiReturnCode mutex_lock(T_DjiMutexHandle handle)
{
    return code_of(pthread_mutex_lock(handle));
}

static T_DjiReturnCode mutex_unlock(T_DjiMutexHandle handle)
{
    return code_of(pthread_mutex_unlock(handle));
}

/* Not a sem_t: that waits by the wall clock, which is set at some time after the boot, and the
 * function that waits by another clock is missing in older C libraries. */
struct semaphore {
    pthread_mutex_t lock;
    pthread_cond_t posted;
    uint32_t count;
};

static T_DjiReturnCode semaphore_create(uint32_t count, T_DjiSemaHandle *handle)
{
    struct semaphore *semaphore = malloc(sizeof *semaphore);
    if (!semaphore)
        return NO_MEMORY;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&semaphore->lock, NULL);
    pthread_cond_init(&semaphore->posted, &attributes);
    pthread_condattr_destroy(&attributes);
    semaphore->count = count;
    *handle = semaphore;
    return OK;
}

static T_DjiReturnCode semaphore_destroy(T_DjiSemaHandle handle)
{
    struct semaphore *semaphore = handle;
    pthread_cond_destroy(&semaphore->posted);
    pthread_mutex_destroy(&semaphore->lock);
    free(semaphore);
    return OK;
}

/* A null pointer waits for ever. */
static T_DjiReturnCode take(struct semaphore *semaphore, const struct timespec *deadline)
{
    int error = 0;
    pthread_mutex_lock(&semaphore->lock);
    while (semaphore->count == 0 && error == 0)
        error = deadline
                    ? pthread_cond_timedwait(&semaphore->posted, &semaphore->lock, deadline)
                    : pthread_cond_wait(&semaphore->posted, &semaphore->lock);
    bool taken = semaphore->count > 0;
    if (taken)
        semaphore->count--;
    pthread_mutex_unlock(&semaphore->lock);
    return taken ? OK : DJI_ERROR_SYSTEM_MODULE_CODE_TIMEOUT;
}

static T_DjiReturnCode semaphore_wait(T_DjiSemaHandle handle)
{
    return take(handle, NULL);
}

static T_DjiReturnCode semaphore_timed_wait(T_DjiSemaHandle handle, uint32_t ms)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += ms / 1000;
    deadline.tv_nsec += (long)(ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    return take(handle, &deadline);
}

static T_DjiReturnCode semaphore_post(T_DjiSemaHandle handle)
{
    struct semaphore *semaphore = handle;
    pthread_mutex_lock(&semaphore->lock);
    semaphore->count++;
    pthread_cond_signal(&semaphore->posted);
    pthread_mutex_unlock(&semaphore->lock);
    return OK;
}

static T_DjiReturnCode time_us(uint64_t *us)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    return OK;
}

static T_DjiReturnCode time_ms(uint32_t *ms)
{
    uint64_t us;
    time_us(&us);
    *ms = (uint32_t)(us / 1000);
    return OK;
}

#ifdef HAVE_OSAL_RANDOM
static T_DjiReturnCode random_number(uint16_t *number)
{
    return getrandom(number, sizeof *number, 0) == sizeof *number ? OK : FAILED;
}
#endif

static void *allocate(uint32_t size)
{
    return malloc(size);
}

T_DjiReturnCode osal_register(void)
{
    static const T_DjiOsalHandler handler = {
        .TaskCreate = task_create,
        .TaskDestroy = task_destroy,
        .TaskSleepMs = task_sleep,
        .MutexCreate = mutex_create,
        .MutexDestroy = mutex_destroy,
        .MutexLock = mutex_lock,
        .MutexUnlock = mutex_unlock,
        .SemaphoreCreate = semaphore_create,
        .SemaphoreDestroy = semaphore_destroy,
        .SemaphoreWait = semaphore_wait,
        .SemaphoreTimedWait = semaphore_timed_wait,
        .SemaphorePost = semaphore_post,
        .GetTimeMs = time_ms,
        .GetTimeUs = time_us,
#ifdef HAVE_OSAL_RANDOM
        .GetRandomNum = random_number,
#endif
        .Malloc = allocate,
        .Free = free,
    };
    return DjiPlatform_RegOsalHandler(&handler);
}
