/* A stand-in for the vendor's library, for tests without it: it starts an application, finds the
 * simulated aircraft on the application's serial port, and upgrades as the library was observed to
 * (docs/wire/vendor-library.md; a section's number in a comment is one of that page). All of it is ours.
 *
 * What differs, because nobody has seen it or no test needs it:
 * - The identity counts as verified at once, or PSDK_STAND_IN_VERIFY_MS (environment) after the
 *   aircraft was found; "never" lets DjiCore_Init block for ever, as on a bench.
 * - A Mavic 3 and an M400 go on like the others. With PSDK_STAND_IN_WANTS_MORE set, requests from
 *   them are not answered, as on a bench.
 * - The two steps of the probe whose frames are unknown are silent. A link that was found is not
 *   searched again.
 * - Presence needs DjiUpgrade_EnableLocalUpgrade, too, so that a test notices where it is missing.
 * - Of a frame that is too short, the fields that are missing count as zeros.
 * - Over USB bulk channel 0 go the same bytes as over the serial port, where no serial hooks are
 *   registered. Network hooks are taken and not used.
 * - Where PSDK_STAND_IN_OBSERVER names a UNIX socket, a callback waits before it is called, and once
 *   more when it has returned, until the observer there has heard of it.
 *
 * platform.c has the application's hooks, logger.c its consoles, wire.c the frames, aircraft.c what
 * an answer to the probe means, link.c the port and its thread, core.c the callback thread and its
 * queue, upgrade.c the upgrade, observer.c the observer. */
#ifndef STAND_IN_H
#define STAND_IN_H

#include "dji_core.h"
#include "dji_logger.h"
#include "dji_upgrade.h"
#include "wire.h"

#define OK DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS
#define INVALID DJI_ERROR_SYSTEM_MODULE_CODE_INVALID_PARAMETER

/* For tasks, semaphores, mutexes and memory all goes through the application's hooks. */
#define OSAL (DjiPlatform_GetOsalHandler())

T_DjiHalUartHandler *stand_in_uart(void);

/* From the payload, to the aircraft. */
struct route {
    uint8_t from;
    uint8_t to;
};

/* What the library makes of an answer to its probe. */
struct port {
    uint8_t address;        /* the payload's */
    bool answers;           /* requests are answered */
    T_DjiReturnCode core;   /* what DjiCore_Init returns */
    T_DjiReturnCode upgrade; /* what DjiUpgrade_Init returns */
};

/* Whether the answer is taken; then it decides. */
bool aircraft_port(struct route route, uint8_t type, struct port *port);

/* Opens the application's port. */
T_DjiReturnCode link_open(uint32_t rate);
T_DjiReturnCode link_send(const struct wire_frame *frame);
uint16_t link_next_sequence(void);
/* The thread that looks for the aircraft and reads. */
void *linker_task(void *unused);
#define LINKER_TASK_STACK 4096

/* The probe's first answer. */
void core_found(const struct port *port);
/* A request for the payload: carried out on the callback thread, behind those that came before. */
void core_queue(const struct wire_frame *request);
/* Whether the aircraft was found and is one that the library works on. */
bool core_is_up(struct port *port);
/* What DjiUpgrade_Init has to return by what core knows. */
T_DjiReturnCode core_upgrade_code(void);

/* Tells the observer, waits until it closes the connection, and returns the code. Where nobody
 * listens, it goes on. */
T_DjiReturnCode observer_told(const char *event, T_DjiReturnCode code);
/* A call of the application's callback of this name, with the observer told before and after. */
#define OBSERVED(name, call)                                                                       \
    (observer_told(name " is called", OK), observer_told(name " has returned", call))

/* Both on the callback thread. */
void upgrade_request(const struct wire_frame *request);
void upgrade_push_presence(void);

#endif
