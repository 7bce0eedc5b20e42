/* The application of the stories, with callbacks that do as they are told. */
#ifndef ROWS_APPLICATION_H
#define ROWS_APPLICATION_H

#include <pthread.h>

#include "dji_upgrade.h"
#include "host.h"

/* How often each callback was called, and which of them fail. */
extern atomic_uint entered, started, transferred, finished, checked, begun, ended;
extern atomic_bool fail_enter, fail_start, fail_transfer, fail_finish, fail_check, fail_begin;
/* How long each takes, whether each pushes a status, and how many ran on another thread. */
extern atomic_long block_ms;
extern atomic_bool push_inside;
extern atomic_uint wrong_thread;

/* What the last of them got. */
extern T_DjiUpgradeFileInfo file_info;
extern uint8_t chunk[1200];
extern atomic_uint chunk_length;

/* What the library asked of its threads. */
extern uint32_t root_stack;
extern atomic_bool has_linker;

extern const T_DjiUpgradeHandler handler;

T_DjiUpgradeConfig config(E_DjiFirmwareTransferType transfer, uint8_t major);
T_DjiReturnCode init_as(E_DjiFirmwareTransferType transfer, uint8_t major);

/* Over USB bulk in place of the serial line. */
extern bool over_usb;
void register_hooks(void);
T_DjiReturnCode init_core(void);
/* The same on a thread of its own; its return code comes later. */
void start_core(void);
T_DjiReturnCode await_core(void);

/* An M300 with an application that does all that it should. */
void start_all(E_DjiFirmwareTransferType transfer);

#endif
