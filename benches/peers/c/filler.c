/* Helpers that measure nothing: the sender that fills every peer's queue, and the receiver for the measured senders. */
#include "peer.h"

#include <poll.h>
#include <time.h>

static int fd;

static void open_fill(void)
{
    /* On lo, or on the interface with this index. */
    fd = place.number ? open_sender_on(place.number) : open_sender();
}

/* A line is `GROUP PORT SIZE COUNT SEGMENTS RATE`: segments of 1 for plain packets, a rate of 0 for as fast as possible. */
static struct tally fill(const char *line)
{
    char group[32];
    int port, size, segments;
    unsigned long count, rate, start;
    struct sockaddr_in to;
    struct tally tally = {0};
    if (sscanf(line, "%31s %d %d %lu %d %lu", group, &port, &size, &count, &segments, &rate) != 6)
        fail("fill: not a line of six words");
    if (size < 1 || size > LONGEST || segments < 1 || segments > segments_of(size))
        fail("fill: not a size or not so many segments");
    to = address_of(group, port);
    start = clock_now(CLOCK_MONOTONIC);
    if (rate == 0) {
        tally.packets = send_segments(fd, &to, size, count, segments);
        /* Under load the kernel delivers a little after the call. */
        nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
    } else {
        for (; tally.packets < count; tally.packets++) {
            unsigned long due = start + tally.packets * 1000000000ul / rate;
            while (clock_now(CLOCK_MONOTONIC) < due)
                ;
            send_segments(fd, &to, size, 1, 1);
        }
    }
    tally.bytes = tally.packets * size;
    tally.nanoseconds = clock_now(CLOCK_MONOTONIC) - start;
    return tally;
}

static void open_sink(void)
{
    fd = open_receiver(place.port);
}

/* For each line `COUNT`: receives until the sender has sent this many, or nothing more comes. */
static struct tally drain(const char *line)
{
    static char buffers[BATCH][BUFFER];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    unsigned long count = strtoul(line, NULL, 10);
    struct tally tally = {0};
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){buffers[i], BUFFER};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    while (tally.packets < count && poll(&readable, 1, tally.packets ? SILENCE : PATIENCE) > 0) {
        int got;
        while ((got = recvmmsg(fd, messages, BATCH, 0, NULL)) > 0)
            for (int i = 0; i < got; i++) {
                tally.packets += 1;
                tally.bytes += messages[i].msg_len;
            }
    }
    return tally;
}

const struct way filler_ways[] = {
    {"fill", "sendmsg", open_fill, fill},
    {"sink", "poll", open_sink, drain},
    {0},
};
