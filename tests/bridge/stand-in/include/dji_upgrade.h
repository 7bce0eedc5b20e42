/* The stand-in for the vendor's library: its upgrade module. Written from docs/wire/vendor-library.md:
 * names and layouts are the vendor's, everything else is ours. */
#ifndef DJI_UPGRADE_H
#define DJI_UPGRADE_H

#include "dji_typedef.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    DJI_FIRMWARE_TRANSFER_TYPE_FTP = 0,
    DJI_FIRMWARE_TRANSFER_TYPE_DCFTP = 1
} E_DjiFirmwareTransferType;

typedef enum {
    DJI_UPGRADE_STAGE_IDLE = 0,
    DJI_UPGRADE_STAGE_ONGOING = 3,
    DJI_UPGRADE_STAGE_DEVICE_REBOOT = 6,
    DJI_UPGRADE_STAGE_END = 4
} E_DjiUpgradeStage;

typedef enum {
    DJI_UPGRADE_END_STATE_SUCCESS = 1,
    DJI_UPGRADE_END_STATE_UNKNOWN_ERROR = 2
} E_DjiUpgradeEndState;

typedef struct {
    uint8_t upgradeProgress;
} T_DjiUpgradeOngoingInfo;

typedef struct {
    uint8_t rebootTimeout;
} T_DjiUpgradeRebootInfo;

typedef struct {
    E_DjiUpgradeEndState upgradeEndState;
} T_DjiUpgradeEndInfo;

typedef struct {
    uint32_t port;
} T_DjiUpgradeFtpFileTransferInfo;

typedef struct {
    uint32_t fileSize;
    char fileName[DJI_FILE_NAME_SIZE_MAX];
} T_DjiUpgradeFileInfo;

typedef struct {
    T_DjiReturnCode (*start)(const T_DjiUpgradeFileInfo *fileInfo);
    T_DjiReturnCode (*transfer)(const uint8_t *data, uint16_t dataLen);
    T_DjiReturnCode (*finish)(const uint8_t md5[DJI_MD5_BUFFER_LEN]);
} T_DjiUpgradeDcftpFileTransferOpt;

typedef struct {
    E_DjiFirmwareTransferType transferType;
    T_DjiUpgradeFtpFileTransferInfo ftpTransferInfo;
    T_DjiUpgradeDcftpFileTransferOpt dcftpFileTransferOpt;
} T_DjiFirmwareTransferInfo;

typedef struct {
    E_DjiUpgradeStage upgradeStage;
    union {
        T_DjiUpgradeOngoingInfo upgradeOngoingInfo;
        T_DjiUpgradeRebootInfo upgradeRebootInfo;
        T_DjiUpgradeEndInfo upgradeEndInfo;
    };
} T_DjiUpgradeState;

typedef struct {
    T_DjiFirmwareVersion currentFirmwareVersion;
    T_DjiFirmwareTransferInfo firmwareTransferInfo;
} T_DjiUpgradeConfig;

typedef struct {
    T_DjiReturnCode (*EnterUpgradeMode)(uint16_t *waitTime);
    T_DjiReturnCode (*CheckFirmware)(void);
    T_DjiReturnCode (*StartUpgrade)(void);
    T_DjiReturnCode (*FinishUpgrade)(void);
} T_DjiUpgradeHandler;

T_DjiReturnCode DjiUpgrade_Init(const T_DjiUpgradeConfig *upgradeConfig);
T_DjiReturnCode DjiUpgrade_EnableLocalUpgrade(void);
T_DjiReturnCode DjiUpgrade_RegHandler(const T_DjiUpgradeHandler *upgradeHandler);
T_DjiReturnCode DjiUpgrade_PushUpgradeState(const T_DjiUpgradeState *upgradeState);

#ifdef __cplusplus
}
#endif

#endif
