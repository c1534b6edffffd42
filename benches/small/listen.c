/* The same as tiny-listen, in C: joins a group on lo, waits with epoll, prints the payloads that begin with a prefix, and ends
 * after three. */
#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char prefix[] = "NOTIFY ";
static char buffer[1501];

int main(void)
{
    struct sockaddr_in group = {.sin_family = AF_INET, .sin_port = htons(5000)};
    struct ip_mreqn membership = {.imr_ifindex = if_nametoindex("lo")};
    int on = 1, off = 0, left = 3, epoll = epoll_create1(EPOLL_CLOEXEC);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    group.sin_addr.s_addr = membership.imr_multiaddr.s_addr = inet_addr("239.1.2.3");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) || setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof off) ||
        bind(fd, (struct sockaddr *)&group, sizeof group) ||
        setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &membership, sizeof membership))
        return 1;
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        return 1;
    while (left && epoll_wait(epoll, &event, 1, -1) >= 0) {
        struct sockaddr_in source;
        socklen_t length = sizeof source;
        ssize_t got;
        while (left && (got = recvfrom(fd, buffer, sizeof buffer - 1, 0, (struct sockaddr *)&source, &length)) >= 0) {
            if ((size_t)got < sizeof prefix - 1 || memcmp(buffer, prefix, sizeof prefix - 1))
                continue;
            buffer[got] = '\n';
            if (write(1, buffer, got + 1) < 0)
                return 1;
            left--;
        }
    }
    return left != 0;
}
