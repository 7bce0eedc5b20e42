/* An observer of the callbacks, for tests that have something happen at one of them. */
#include "stand_in.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* At the observer's socket, or -1. */
static int connected(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

T_DjiReturnCode observer_told(const char *event, T_DjiReturnCode code)
{
    int fd = connected(getenv("PSDK_STAND_IN_OBSERVER"));
    if (fd < 0)
        return code;
    char nothing;
    if (send(fd, event, strlen(event), MSG_NOSIGNAL) > 0)
        while (read(fd, &nothing, 1) > 0)
            ;
    close(fd);
    return code;
}
