/* In the place of the vendor's library where it has nothing to do: everything is taken. Whoever
 * includes this says himself what a push does. */
static T_DjiUpgradeConfig library;

T_DjiReturnCode DjiUpgrade_Init(const T_DjiUpgradeConfig *config)
{
    library = *config;
    return 0;
}

T_DjiReturnCode DjiUpgrade_RegHandler(const T_DjiUpgradeHandler *given)
{
    (void)given;
    return 0;
}

T_DjiReturnCode DjiUpgrade_EnableLocalUpgrade(void)
{
    return 0;
}

T_DjiReturnCode DjiCore_SetFirmwareVersion(T_DjiFirmwareVersion version)
{
    (void)version;
    return 0;
}
