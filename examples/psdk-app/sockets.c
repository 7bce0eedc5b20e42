#include "sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#define OK DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS
#define FAILED DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR

static int socket_of(T_DjiSocketHandle handle)
{
    return (int)(intptr_t)handle;
}

static T_DjiReturnCode give(int opened, T_DjiSocketHandle *handle)
{
    *handle = (T_DjiSocketHandle)(intptr_t)opened;
    return opened >= 0 ? OK : FAILED;
}

static bool address_of(const char *ip, uint32_t port, struct sockaddr_in *address)
{
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return inet_pton(AF_INET, ip, &address->sin_addr) == 1;
}

/* The caller has room for an address in dots. */
static void tell(const struct sockaddr_in *address, char *ip, uint32_t *port)
{
    if (ip)
        inet_ntop(AF_INET, &address->sin_addr, ip, INET_ADDRSTRLEN);
    if (port)
        *port = ntohs(address->sin_port);
}

static T_DjiReturnCode moved(ssize_t bytes, uint32_t *count)
{
    *count = bytes > 0 ? (uint32_t)bytes : 0;
    return bytes >= 0 ? OK : FAILED;
}

static T_DjiReturnCode socket_open(E_DjiSocketMode mode, T_DjiSocketHandle *handle)
{
    int kind = mode == DJI_SOCKET_MODE_UDP ? SOCK_DGRAM : SOCK_STREAM;
    int opened = socket(AF_INET, kind | SOCK_CLOEXEC, 0);
    if (opened >= 0)
        setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    return give(opened, handle);
}

static T_DjiReturnCode socket_close(T_DjiSocketHandle handle)
{
    return close(socket_of(handle)) == 0 ? OK : FAILED;
}

static T_DjiReturnCode socket_bind(T_DjiSocketHandle handle, const char *ip, uint32_t port)
{
    struct sockaddr_in address;
    return address_of(ip, port, &address) && bind(socket_of(handle), (struct sockaddr *)&address,
                                                  sizeof address) == 0
               ? OK
               : FAILED;
}

static T_DjiReturnCode udp_send(T_DjiSocketHandle handle, const char *ip, uint32_t port,
                                const uint8_t *bytes, uint32_t length, uint32_t *count)
{
    struct sockaddr_in address;
    if (!address_of(ip, port, &address))
        return FAILED;
    return moved(sendto(socket_of(handle), bytes, length, 0, (struct sockaddr *)&address,
                        sizeof address),
                 count);
}

static T_DjiReturnCode udp_receive(T_DjiSocketHandle handle, char *ip, uint32_t *port,
                                   uint8_t *bytes, uint32_t length, uint32_t *count)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;
    ssize_t got = recvfrom(socket_of(handle), bytes, length, 0, (struct sockaddr *)&address, &size);
    tell(&address, ip, port);
    return moved(got, count);
}

static T_DjiReturnCode tcp_listen(T_DjiSocketHandle handle)
{
    return listen(socket_of(handle), 4) == 0 ? OK : FAILED;
}

static T_DjiReturnCode tcp_accept(T_DjiSocketHandle handle, char *ip, uint32_t *port,
                                  T_DjiSocketHandle *accepted)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;
    int opened = accept4(socket_of(handle), (struct sockaddr *)&address, &size, SOCK_CLOEXEC);
    tell(&address, ip, port);
    return give(opened, accepted);
}

static T_DjiReturnCode tcp_connect(T_DjiSocketHandle handle, const char *ip, uint32_t port)
{
    struct sockaddr_in address;
    return address_of(ip, port, &address) && connect(socket_of(handle), (struct sockaddr *)&address,
                                                     sizeof address) == 0
               ? OK
               : FAILED;
}

static T_DjiReturnCode tcp_send(T_DjiSocketHandle handle, const uint8_t *bytes, uint32_t length,
                                uint32_t *count)
{
    return moved(send(socket_of(handle), bytes, length, MSG_NOSIGNAL), count);
}

static T_DjiReturnCode tcp_receive(T_DjiSocketHandle handle, uint8_t *bytes, uint32_t length,
                                   uint32_t *count)
{
    return moved(recv(socket_of(handle), bytes, length, 0), count);
}

T_DjiReturnCode sockets_register(void)
{
    static const T_DjiSocketHandler handler = {
        .Socket = socket_open,
        .Close = socket_close,
        .Bind = socket_bind,
        .UdpSendData = udp_send,
        .UdpRecvData = udp_receive,
        .TcpListen = tcp_listen,
        .TcpAccept = tcp_accept,
        .TcpConnect = tcp_connect,
        .TcpSendData = tcp_send,
        .TcpRecvData = tcp_receive,
    };
    return DjiPlatform_RegSocketHandler(&handler);
}
