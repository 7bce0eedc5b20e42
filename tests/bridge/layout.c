/* What was observed of the vendor's types, on the machine that this is compiled for. The bridge is
 * compiled against the vendor's own header; this proves that the tests' header stands for it. */

#include <dji_upgrade.h>
#include <stddef.h>

#define ON_64_OR_32(on64, on32) (sizeof(void *) == 8U ? (on64) : (on32))

_Static_assert(sizeof(T_DjiReturnCode) == 8U, "return code");
_Static_assert(sizeof(T_DjiFirmwareVersion) == 4U, "version");
_Static_assert(sizeof(E_DjiFirmwareTransferType) == 4U, "transfer type");
_Static_assert(sizeof(E_DjiUpgradeStage) == 4U, "stage");
_Static_assert(sizeof(E_DjiUpgradeEndState) == 4U, "end state");
_Static_assert(sizeof(T_DjiUpgradeFileInfo) == 260U, "file info");
_Static_assert(offsetof(T_DjiUpgradeFileInfo, fileName) == 4U, "file name");
_Static_assert(sizeof(T_DjiUpgradeDcftpFileTransferOpt) == ON_64_OR_32(24U, 12U), "callbacks");
_Static_assert(sizeof(T_DjiFirmwareTransferInfo) == ON_64_OR_32(32U, 20U), "transfer info");
_Static_assert(sizeof(T_DjiUpgradeConfig) == ON_64_OR_32(40U, 24U), "configuration");
_Static_assert(offsetof(T_DjiUpgradeConfig, firmwareTransferInfo) == ON_64_OR_32(8U, 4U), "offset");
_Static_assert(sizeof(T_DjiUpgradeState) == 8U, "state");
_Static_assert(offsetof(T_DjiUpgradeState, upgradeOngoingInfo) == 4U, "union");
_Static_assert(sizeof(T_DjiUpgradeHandler) == ON_64_OR_32(32U, 16U), "handler");
