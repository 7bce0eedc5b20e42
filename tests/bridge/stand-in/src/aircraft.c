/* The table of section 2: which aircraft at which port is what to the library. */
#include "stand_in.h"

#include <stdlib.h>

enum { M300 = 60, M350 = 89, M400 = 103, FLYCART30 = 78, M3D = 91, M4 = 99, M4D = 100 };

static const T_DjiReturnCode UNSUPPORTED = DJI_ERROR_SYSTEM_MODULE_CODE_NONSUPPORT;
static const T_DjiReturnCode UNKNOWN = DJI_ERROR_SYSTEM_MODULE_CODE_UNKNOWN;

static bool is_taken(uint8_t type)
{
    return type != 0 && !(type >= 44 && type <= 46) && type != 93;
}

static bool is_m30(uint8_t type)
{
    return type == 67 || type == 68;
}

static bool is_mavic3(uint8_t type)
{
    return type == 77 || type == 79 || type == 80;
}

static struct port works_as(uint8_t address)
{
    return (struct port){.address = address, .answers = true, .core = OK, .upgrade = OK};
}

static struct port fails_with(T_DjiReturnCode code)
{
    return (struct port){.core = code, .upgrade = INVALID};
}

static struct port by_payload_port(uint8_t type)
{
    if (is_m30(type) || is_mavic3(type))
        return works_as(0x73);
    if (type == FLYCART30 || type == M3D || type == M4 || type == M4D)
        return fails_with(INVALID);
    return works_as(0x13);
}

static struct port by_eport(uint8_t type)
{
    if (type == M350)
        return works_as(0xCA);
    if (type == M300 || type == FLYCART30 || type == M400)
        return fails_with(UNKNOWN);
    return works_as(0x73);
}

static struct port by_eport_lite(uint8_t type)
{
    struct port port = works_as(0xEA);
    if (type == M3D)
        port.upgrade = UNSUPPORTED;
    return port;
}

bool aircraft_port(struct route route, uint8_t type, struct port *port)
{
    if (!is_taken(type))
        return false;
    if (route.from == 0xE5 && route.to == 0x65)
        *port = by_payload_port(type);
    else if (route.from == 0xCA && route.to == 0x03)
        *port = by_eport(type);
    else if (route.from == 0xEA && route.to == 0x03)
        *port = by_eport_lite(type);
    else
        return false;
    if (getenv("PSDK_STAND_IN_WANTS_MORE") && (is_mavic3(type) || type == M400))
        port->answers = false;
    return true;
}
