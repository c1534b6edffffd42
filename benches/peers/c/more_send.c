/* More ways to send a number of packets: many in one call, gathered from as many places, though they lie side by side; and over a
 * socket that is connected to the group. */
#include "peer.h"

static int fd;
static struct sockaddr_in to;
static char payload[LONGEST];

static void open_one(void)
{
    fd = open_sender();
    to = address_of(place.group, place.port);
}

static void open_connected(void)
{
    open_one();
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        fail("connect");
}

static struct tally by_gather(const char *line)
{
    unsigned long count = strtoul(line, NULL, 10);
    struct tally tally = {.packets = count, .bytes = count * place.size};
    unsigned long most = segments_of(place.size);
    for (unsigned long sent = 0; sent < count;) {
        unsigned long now = count - sent < most ? count - sent : most;
        send_gathered(fd, &to, payload, place.size, now);
        sent += now;
    }
    return tally;
}

static struct tally by_send(const char *line)
{
    unsigned long count = strtoul(line, NULL, 10);
    struct tally tally = {.packets = count, .bytes = count * place.size};
    for (unsigned long i = 0; i < count; i++)
        if (send(fd, payload, place.size, 0) < 0)
            fail("send");
    return tally;
}

void send_gathered(int socket, const struct sockaddr_in *address, char *first, int size, unsigned long count)
{
    struct iovec parts[BATCH];
    char control[CMSG_SPACE(sizeof(uint16_t))] __attribute__((aligned(8))) = {0};
    struct cmsghdr *header = (struct cmsghdr *)control;
    uint16_t segment = size;
    struct msghdr message = {.msg_name = (void *)address, .msg_namelen = sizeof *address, .msg_iov = parts,
                             .msg_iovlen = count, .msg_control = control, .msg_controllen = sizeof control};
    header->cmsg_level = IPPROTO_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(header), &segment, sizeof segment);
    for (unsigned long i = 0; i < count; i++)
        parts[i] = (struct iovec){first + i * size, size};
    if (sendmsg(socket, &message, 0) < 0)
        fail("sendmsg");
}

const struct way more_send_ways[] = {
    {"send", "gather", open_one, by_gather},
    {"send", "connected", open_connected, by_send},
    {0},
};
