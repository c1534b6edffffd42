/* Sends a number of packets as fast as it can. */
#include "peer.h"

static int fd;
static struct sockaddr_in to;
static char payload[LONGEST];

static void open_one(void)
{
    fd = open_sender();
    to = address_of(place.group, place.port);
}

int segments_of(int size)
{
    int fit = LONGEST / size;
    return fit < BATCH ? fit : BATCH;
}

unsigned long send_segments(int socket, const struct sockaddr_in *address, int size, unsigned long count, int segments)
{
    char control[CMSG_SPACE(sizeof(uint16_t))] __attribute__((aligned(8))) = {0};
    uint16_t segment = size;
    unsigned long sent = 0;
    while (sent < count) {
        unsigned long now = count - sent < (unsigned long)segments ? count - sent : (unsigned long)segments;
        struct iovec part = {payload, now * size};
        struct msghdr message = {
            .msg_name = (void *)address, .msg_namelen = sizeof *address, .msg_iov = &part, .msg_iovlen = 1};
        if (now > 1) {
            struct cmsghdr *header = (struct cmsghdr *)control;
            message.msg_control = control;
            message.msg_controllen = sizeof control;
            header->cmsg_level = IPPROTO_UDP;
            header->cmsg_type = UDP_SEGMENT;
            header->cmsg_len = CMSG_LEN(sizeof segment);
            memcpy(CMSG_DATA(header), &segment, sizeof segment);
        }
        if (sendmsg(socket, &message, 0) < 0)
            fail("sendmsg");
        sent += now;
    }
    return sent;
}

static struct tally by_sendto(const char *line)
{
    unsigned long count = strtoul(line, NULL, 10);
    struct tally tally = {.packets = count, .bytes = count * place.size};
    for (unsigned long i = 0; i < count; i++)
        if (sendto(fd, payload, place.size, 0, (struct sockaddr *)&to, sizeof to) < 0)
            fail("sendto");
    return tally;
}

static struct tally by_sendmmsg(const char *line)
{
    static struct iovec part;
    static struct mmsghdr messages[BATCH];
    unsigned long count = strtoul(line, NULL, 10);
    struct tally tally = {.packets = count, .bytes = count * place.size};
    part = (struct iovec){payload, place.size};
    for (int i = 0; i < BATCH; i++)
        messages[i].msg_hdr =
            (struct msghdr){.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1};
    for (unsigned long sent = 0; sent < count;) {
        int got = sendmmsg(fd, messages, count - sent < BATCH ? count - sent : BATCH, 0);
        if (got < 0)
            fail("sendmmsg");
        sent += got;
    }
    return tally;
}

static struct tally by_segment(const char *line)
{
    unsigned long count = strtoul(line, NULL, 10);
    struct tally tally = {.packets = count, .bytes = count * place.size};
    send_segments(fd, &to, place.size, count, segments_of(place.size));
    return tally;
}

const struct way send_ways[] = {
    {"send", "sendto", open_one, by_sendto},
    {"send", "sendmmsg", open_one, by_sendmmsg},
    {"send", "segment", open_one, by_segment},
    {0},
};
