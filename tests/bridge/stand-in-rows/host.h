/* The host of the stories: the other end of a socket that stands for the serial line. */
#ifndef ROWS_HOST_H
#define ROWS_HOST_H

#include <stdatomic.h>
#include <stdbool.h>

#include "dji_core.h"
#include "../stand-in/src/wire.h"

#define OK 0u
#define EC DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR
#define E3 DJI_ERROR_SYSTEM_MODULE_CODE_INVALID_PARAMETER
#define E0 DJI_ERROR_SYSTEM_MODULE_CODE_NONSUPPORT
#define FF DJI_ERROR_SYSTEM_MODULE_CODE_UNKNOWN
#define DUPLICATE DJI_ERROR_SYSTEM_MODULE_CODE_DUPLICATE

/* Milliseconds within which an answer comes. */
#define SOON 500

extern const char *story;
extern atomic_int failures;

/* What does not hold is told, and the story fails. */
#define CHECK(holds) check(holds, __LINE__, #holds)

void check(bool holds, int line_number, const char *what);

double now_ms(void);
void sleep_ms(long ms);

/* The line, and the application's hooks for it. */
void host_make_line(void);
extern const T_DjiHalUartHandler host_line_hooks;
extern const T_DjiHalUsbBulkHandler host_bulk_hooks;
extern atomic_uint host_rate;
extern atomic_bool host_cannot_open;

/* Whom the host asks. */
extern uint8_t payload_address;

/* The next frame, until then. */
bool hear(struct wire_frame *frame, double until);
void say(const struct wire_frame *frame);
struct wire_frame request(uint8_t id, const void *bytes, size_t length);
bool hear_answer(const struct wire_frame *asked, struct wire_frame *answer, long ms);
bool hear_push(uint8_t to, uint8_t id, struct wire_frame *push, long ms);

/* Whether exactly this answer comes soon. */
bool answers(uint8_t id, const void *bytes, size_t length, const void *wanted, int count);
/* Whether no answer comes. */
bool is_silent(uint8_t id, const void *bytes, size_t length);

#define BYTES(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})
#define ANSWERS(id, asked, ...) answers(id, asked, BYTES(__VA_ARGS__))

bool tells_version(uint8_t major, uint8_t minor, uint8_t modify, uint8_t debug);

/* Answers the probe on this route alone. */
void be_aircraft(uint8_t from, uint8_t to, uint8_t type);

#endif
