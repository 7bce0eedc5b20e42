/* The stand-in for the vendor's library: the hooks that an application registers. Names and
 * layouts are the vendor's (docs/wire/vendor-library.md), everything else is ours.
 *
 * With DJI_STAND_IN_OLD_HOOKS the members that came after release 3.4 are missing, as an
 * application that supports old releases must stand it. */
#ifndef DJI_PLATFORM_H
#define DJI_PLATFORM_H

#include "dji_typedef.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void *T_DjiUartHandle;
typedef void *T_DjiUsbBulkHandle;
typedef void *T_DjiNetworkHandle;
typedef void *T_DjiTaskHandle;
typedef void *T_DjiMutexHandle;
typedef void *T_DjiSemaHandle;
typedef void *T_DjiFileHandle;
typedef void *T_DjiDirHandle;
typedef void *T_DjiSocketHandle;

typedef enum { DJI_HAL_UART_NUM_0, DJI_HAL_UART_NUM_1 } E_DjiHalUartNum;

typedef enum {
    DJI_HAL_USB_BULK_NUM_0 = 0,
    DJI_HAL_USB_BULK_NUM_1,
#ifndef DJI_STAND_IN_OLD_HOOKS
    DJI_HAL_USB_BULK_NUM_2,
#endif
    DJI_HAL_USB_BULK_NUM_MAX
} E_DjiHalUsbBulkNum;

typedef enum { DJI_SOCKET_MODE_UDP, DJI_SOCKET_MODE_TCP } E_DjiSocketMode;

typedef struct {
    bool isConnect;
} T_DjiUartStatus;

typedef struct {
    uint16_t year;
    uint8_t month;
    uint8_t day;
    uint8_t hour;
    uint8_t minute;
    uint8_t second;
} T_DjiTime;

typedef struct {
    uint32_t size;
    T_DjiTime createTime;
    T_DjiTime modifyTime;
    char path[DJI_FILE_PATH_SIZE_MAX];
    bool isDir;
} T_DjiFileInfo;

#ifndef DJI_STAND_IN_OLD_HOOKS
typedef struct {
    uint16_t pid;
    uint16_t vid;
} T_DjiHalUartDeviceInfo;
#endif

typedef struct {
    T_DjiReturnCode (*UartInit)(E_DjiHalUartNum uartNum, uint32_t baudRate,
                                T_DjiUartHandle *uartHandle);
    T_DjiReturnCode (*UartDeInit)(T_DjiUartHandle uartHandle);
    T_DjiReturnCode (*UartWriteData)(T_DjiUartHandle uartHandle, const uint8_t *buf, uint32_t len,
                                     uint32_t *realLen);
    T_DjiReturnCode (*UartReadData)(T_DjiUartHandle uartHandle, uint8_t *buf, uint32_t len,
                                    uint32_t *realLen);
    T_DjiReturnCode (*UartGetStatus)(E_DjiHalUartNum uartNum, T_DjiUartStatus *status);
#ifndef DJI_STAND_IN_OLD_HOOKS
    T_DjiReturnCode (*UartGetDeviceInfo)(T_DjiHalUartDeviceInfo *deviceInfo);
#endif
} T_DjiHalUartHandler;

typedef struct {
    uint16_t interfaceNum;
    uint16_t endPointIn;
    uint16_t endPointOut;
} T_DjiHalUsbBulkChannelInfo;

typedef struct {
    bool isUsbHost;
    uint16_t pid;
    uint16_t vid;
    T_DjiHalUsbBulkChannelInfo channelInfo;
} T_DjiHalUsbBulkInfo;

typedef struct {
    uint16_t pid;
    uint16_t vid;
    T_DjiHalUsbBulkChannelInfo channelInfo[DJI_HAL_USB_BULK_NUM_MAX];
} T_DjiHalUsbBulkDeviceInfo;

typedef struct {
    T_DjiReturnCode (*UsbBulkInit)(T_DjiHalUsbBulkInfo usbBulkInfo,
                                   T_DjiUsbBulkHandle *usbBulkHandle);
    T_DjiReturnCode (*UsbBulkDeInit)(T_DjiUsbBulkHandle usbBulkHandle);
    T_DjiReturnCode (*UsbBulkWriteData)(T_DjiUsbBulkHandle usbBulkHandle, const uint8_t *buf,
                                        uint32_t len, uint32_t *realLen);
    T_DjiReturnCode (*UsbBulkReadData)(T_DjiUsbBulkHandle usbBulkHandle, uint8_t *buf,
                                       uint32_t len, uint32_t *realLen);
    T_DjiReturnCode (*UsbBulkGetDeviceInfo)(T_DjiHalUsbBulkDeviceInfo *deviceInfo);
} T_DjiHalUsbBulkHandler;

typedef struct {
    struct {
        uint16_t vid;
        uint16_t pid;
    } usbNetAdapter;
} T_DjiHalNetworkDeviceInfo;

typedef struct {
    T_DjiReturnCode (*NetworkInit)(const char *ipAddr, const char *netMask,
                                   T_DjiNetworkHandle *networkHandle);
    T_DjiReturnCode (*NetworkDeInit)(T_DjiNetworkHandle networkHandle);
    T_DjiReturnCode (*NetworkGetDeviceInfo)(T_DjiHalNetworkDeviceInfo *deviceInfo);
} T_DjiHalNetworkHandler;

typedef struct {
    T_DjiReturnCode (*TaskCreate)(const char *name, void *(*taskFunc)(void *), uint32_t stackSize,
                                  void *arg, T_DjiTaskHandle *task);
    T_DjiReturnCode (*TaskDestroy)(T_DjiTaskHandle task);
    T_DjiReturnCode (*TaskSleepMs)(uint32_t timeMs);
    T_DjiReturnCode (*MutexCreate)(T_DjiMutexHandle *mutex);
    T_DjiReturnCode (*MutexDestroy)(T_DjiMutexHandle mutex);
    T_DjiReturnCode (*MutexLock)(T_DjiMutexHandle mutex);
    T_DjiReturnCode (*MutexUnlock)(T_DjiMutexHandle mutex);
    T_DjiReturnCode (*SemaphoreCreate)(uint32_t initValue, T_DjiSemaHandle *semaphore);
    T_DjiReturnCode (*SemaphoreDestroy)(T_DjiSemaHandle semaphore);
    T_DjiReturnCode (*SemaphoreWait)(T_DjiSemaHandle semaphore);
    T_DjiReturnCode (*SemaphoreTimedWait)(T_DjiSemaHandle semaphore, uint32_t waitTimeMs);
    T_DjiReturnCode (*SemaphorePost)(T_DjiSemaHandle semaphore);
    T_DjiReturnCode (*GetTimeMs)(uint32_t *ms);
    T_DjiReturnCode (*GetTimeUs)(uint64_t *us);
#ifndef DJI_STAND_IN_OLD_HOOKS
    T_DjiReturnCode (*GetRandomNum)(uint16_t *randomNum);
#endif
    void *(*Malloc)(uint32_t size);
    void (*Free)(void *ptr);
} T_DjiOsalHandler;

typedef struct {
    T_DjiReturnCode (*FileOpen)(const char *fileName, const char *fileMode,
                                T_DjiFileHandle *fileObj);
    T_DjiReturnCode (*FileClose)(T_DjiFileHandle fileObj);
    T_DjiReturnCode (*FileWrite)(T_DjiFileHandle fileObj, const uint8_t *buf, uint32_t len,
                                 uint32_t *realLen);
    T_DjiReturnCode (*FileRead)(T_DjiFileHandle fileObj, uint8_t *buf, uint32_t len,
                                uint32_t *realLen);
    T_DjiReturnCode (*FileSeek)(T_DjiFileHandle fileObj, uint32_t offset);
    T_DjiReturnCode (*FileSync)(T_DjiFileHandle fileObj);
    T_DjiReturnCode (*DirOpen)(const char *filePath, T_DjiDirHandle *dirObj);
    T_DjiReturnCode (*DirClose)(T_DjiDirHandle dirObj);
    T_DjiReturnCode (*DirRead)(T_DjiDirHandle dirObj, T_DjiFileInfo *fileInfo);
    T_DjiReturnCode (*Mkdir)(const char *filePath);
    T_DjiReturnCode (*Unlink)(const char *filePath);
    T_DjiReturnCode (*Rename)(const char *oldFilePath, const char *newFilePath);
    T_DjiReturnCode (*Stat)(const char *filePath, T_DjiFileInfo *fileInfo);
} T_DjiFileSystemHandler;

typedef struct {
    T_DjiReturnCode (*Socket)(E_DjiSocketMode mode, T_DjiSocketHandle *socketHandle);
    T_DjiReturnCode (*Close)(T_DjiSocketHandle socketHandle);
    T_DjiReturnCode (*Bind)(T_DjiSocketHandle socketHandle, const char *ipAddr, uint32_t port);
    T_DjiReturnCode (*UdpSendData)(T_DjiSocketHandle socketHandle, const char *ipAddr,
                                   uint32_t port, const uint8_t *buf, uint32_t len,
                                   uint32_t *realLen);
    T_DjiReturnCode (*UdpRecvData)(T_DjiSocketHandle socketHandle, char *ipAddr, uint32_t *port,
                                   uint8_t *buf, uint32_t len, uint32_t *realLen);
    T_DjiReturnCode (*TcpListen)(T_DjiSocketHandle socketHandle);
    T_DjiReturnCode (*TcpAccept)(T_DjiSocketHandle socketHandle, char *ipAddr, uint32_t *port,
                                 T_DjiSocketHandle *outSocketHandle);
    T_DjiReturnCode (*TcpConnect)(T_DjiSocketHandle socketHandle, const char *ipAddr,
                                  uint32_t port);
    T_DjiReturnCode (*TcpSendData)(T_DjiSocketHandle socketHandle, const uint8_t *buf,
                                   uint32_t len, uint32_t *realLen);
    T_DjiReturnCode (*TcpRecvData)(T_DjiSocketHandle socketHandle, uint8_t *buf, uint32_t len,
                                   uint32_t *realLen);
} T_DjiSocketHandler;

T_DjiReturnCode DjiPlatform_RegHalUartHandler(const T_DjiHalUartHandler *halUartHandler);
T_DjiReturnCode DjiPlatform_RegHalUsbBulkHandler(const T_DjiHalUsbBulkHandler *halUsbBulkHandler);
T_DjiReturnCode DjiPlatform_RegHalNetworkHandler(const T_DjiHalNetworkHandler *halNetworkHandler);
T_DjiReturnCode DjiPlatform_RegOsalHandler(const T_DjiOsalHandler *osalHandler);
T_DjiReturnCode DjiPlatform_RegFileSystemHandler(const T_DjiFileSystemHandler *fileSystemHandler);
T_DjiReturnCode DjiPlatform_RegSocketHandler(const T_DjiSocketHandler *socketHandler);

/* A null pointer where nothing was registered. */
T_DjiOsalHandler *DjiPlatform_GetOsalHandler(void);
T_DjiHalUsbBulkHandler *DjiPlatform_GetHalUsbBulkHandler(void);
T_DjiHalNetworkHandler *DjiPlatform_GetHalNetworkHandler(void);
T_DjiFileSystemHandler *DjiPlatform_GetFileSystemHandler(void);
T_DjiSocketHandler *DjiPlatform_GetSocketHandler(void);

#ifdef __cplusplus
}
#endif

#endif
