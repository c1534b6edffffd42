/* Packets of an ordinary sender over a link: waits, and receives, one packet in a call or as many as the kernel coalesced. `number` is
 * the index of the interface. And what sets such a link up: features of a device. */
#include "peer.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

static int fd, epoll;
static char buffer[BUFFER];
static char whole[65535];

static void open_plain(void)
{
    fd = open_receiver_on(place.port, place.number);
    epoll = new_epoll();
    watch(epoll, fd, 0);
}

static void open_gro(void)
{
    int on = 1;
    open_plain();
    if (setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on) < 0)
        fail("UDP_GRO");
}

static ssize_t receive_one(struct tally *tally)
{
    struct sockaddr_in source;
    socklen_t length = sizeof source;
    ssize_t got = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&source, &length);
    if (got >= 0)
        see(tally, buffer, got, &source);
    return got;
}

static ssize_t receive_many(struct tally *tally)
{
    return receive_coalesced(fd, whole, sizeof whole, tally);
}

static struct tally wait_and(const char *line, ssize_t (*receive)(struct tally *tally))
{
    unsigned long count = strtoul(line, NULL, 10);
    struct tally tally = {0};
    struct epoll_event event;
    while (tally.packets < count && epoll_wait(epoll, &event, 1, tally.packets ? SILENCE : PATIENCE) > 0)
        while (receive(&tally) >= 0)
            ;
    return tally;
}

static struct tally by_epoll(const char *line)
{
    return wait_and(line, receive_one);
}

static struct tally by_gro(const char *line)
{
    return wait_and(line, receive_many);
}

/* The group is the name of a device. */
static void open_device(void)
{
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
}

static void set_feature(unsigned command, unsigned on)
{
    struct ethtool_value value = {command, on};
    struct ifreq request = {.ifr_data = (void *)&value};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", place.group);
    if (ioctl(fd, SIOCETHTOOL, &request) < 0)
        fail("SIOCETHTOOL");
}

/* The line is 1 or 0: on or off. */
static struct tally gro(const char *line)
{
    set_feature(ETHTOOL_SGRO, atoi(line));
    return (struct tally){0};
}

static struct tally tso(const char *line)
{
    set_feature(ETHTOOL_STSO, atoi(line));
    return (struct tally){0};
}

const struct way link_ways[] = {
    {"link", "epoll", open_plain, by_epoll},
    {"link", "gro", open_gro, by_gro},
    {"device", "gro", open_device, gro},
    {"device", "tso", open_device, tso},
    {0},
};
