/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bridge between an application that uses DJI's Payload SDK and the daemon uplift, which
 * upgrades the payload's firmware. Add uplift_psdk.h and uplift_psdk.c to the application, and
 * replace the start of the sample's upgrade module by one call after DjiCore_Init returned 0:
 *
 *     struct uplift_psdk_config config;
 *     memset(&config, 0, sizeof config);
 *     config.application = "camera 2.1";
 *     config.fallback_version.majorVersion = 2;
 *     T_DjiReturnCode code = uplift_psdk_start(&config);
 *
 * From then on the bridge answers the library's upgrade callbacks and pushes the upgrade's state.
 * It has one thread of its own, allocates nothing, and needs libc and pthreads only. Nothing else
 * of the application may call DjiUpgrade_* or DjiCore_SetFirmwareVersion.
 *
 * The library must have DjiCore_SetFirmwareVersion: Payload SDK 3.4 and later. The files compile as
 * C11, gnu99 and C++17.
 */
#ifndef UPLIFT_PSDK_H
#define UPLIFT_PSDK_H

#include <stdbool.h>
#include <stdint.h>

#include <dji_upgrade.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UPLIFT_PSDK_SOCKET "/run/uplift/bridge.sock"

enum uplift_psdk_transfer {
    /* What the daemon says; where it is away at the start: DCFTP, which needs no network. */
    UPLIFT_PSDK_TRANSFER_AUTO = 0,
    UPLIFT_PSDK_TRANSFER_DCFTP = 1,
    UPLIFT_PSDK_TRANSFER_FTP = 2
};

enum uplift_psdk_level { UPLIFT_PSDK_ERROR = 0, UPLIFT_PSDK_WARNING = 1, UPLIFT_PSDK_INFO = 2 };

/* Zero and NULL mean the default everywhere. Strings are copied. */
struct uplift_psdk_config {
    /* UPLIFT_PSDK_SOCKET by default. At most 107 bytes. */
    const char *socket_path;
    /* Who this is, for the daemon's reports: UTF-8, at most 64 bytes. */
    const char *application;
    /* What the library is told until the daemon knows better. */
    T_DjiFirmwareVersion fallback_version;
    enum uplift_psdk_transfer transfer;
    /* With FTP, where the daemon is away at the start. 21 by default. */
    uint16_t ftp_port;
    /* How long uplift_psdk_start waits for the daemon. 1000 by default. */
    uint16_t start_wait_ms;
    /* How long Enter, start and a chunk without room wait for the daemon. 100 by default, at most 130. The library
     * answers no other request meanwhile, and a longer wait multiplies itself. */
    uint16_t answer_wait_ms;
    /* How long finish and Check wait for the daemon, which syncs and checks the file meanwhile. 0 by
     * default: the host goes on at once, and a failure is told by the upgrade's end. At most 130: then
     * a failure that is known so soon is answered as one. */
    uint16_t check_wait_ms;
    /* The wait that the host is told where the daemon has not answered yet. 3 by default. */
    uint16_t enter_wait_s;
    /* The stack of the bridge's thread, on which log, about_to_restart and the library's push run.
     * 24 KiB by default, or what the system demands at least. */
    uint32_t thread_stack;
    /* One sentence without a newline. Called on the bridge's thread only, and never often. */
    void (*log)(void *context, enum uplift_psdk_level level, const char *line);
    /* The application will be restarted, or the machine: park what moves, close what is open. The
     * daemon waits for the return, but no longer than so many milliseconds. Called on the bridge's
     * thread. */
    void (*about_to_restart)(void *context, uint16_t milliseconds);
    /* Handed to log and about_to_restart. */
    void *context;
};

enum uplift_psdk_outcome {
    UPLIFT_PSDK_SUCCEEDED = 1,
    UPLIFT_PSDK_FAILED = 2,
    UPLIFT_PSDK_ROLLED_BACK = 3
};

/* How the last upgrade ended. Versions are zeros where they are not known. */
struct uplift_psdk_report {
    enum uplift_psdk_outcome outcome;
    T_DjiFirmwareVersion version_before;
    T_DjiFirmwareVersion version_asked;
    /* UTF-8, without control characters. */
    char text[256];
};

/*
 * Starts the bridge. Waits for the daemon for a moment, tells the library the firmware's version,
 * registers the callbacks and enables local upgrade. Call it after DjiCore_Init returned 0. It
 * succeeds without the daemon, too: the bridge connects as soon as the daemon is there.
 *
 * Returns 0 or the library's code. Where it fails, the application runs on without upgrades; it may
 * call this again later, which tries again. Calling it once it succeeded changes nothing. Not to be
 * called from log or about_to_restart.
 */
T_DjiReturnCode uplift_psdk_start(const struct uplift_psdk_config *config);

/*
 * Ends the bridge's thread and refuses every upgrade from then on; the library can't be told to
 * forget the callbacks. Waits for a running log or about_to_restart, unless it is called from
 * there. uplift_psdk_start starts anew.
 */
void uplift_psdk_stop(void);

/*
 * The application has heard from the aircraft. With this the daemon can prove that a new program
 * works. The first upgrade callback says the same. May be called at any time and often.
 */
void uplift_psdk_aircraft_seen(void);

/* Copies the daemon's last report. False where there is none. */
bool uplift_psdk_last_report(struct uplift_psdk_report *report);

#ifdef __cplusplus
}
#endif

#endif
