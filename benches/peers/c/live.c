/* A live sender: sends a burst of `number` packets, waits until the next one is due, and so on. Only the bursts are measured. */
#include "peer.h"

#include <time.h>

/* The time between two bursts, in nanoseconds. A receiver has taken all packets of a burst by then. */
#define BETWEEN 250000

static int fd;
static struct sockaddr_in to;
static char payload[LONGEST];

static void open_one(void)
{
    fd = open_sender();
    to = address_of(place.group, place.port);
}

static void one_by_one(int burst)
{
    for (int i = 0; i < burst; i++)
        if (sendto(fd, payload + i * place.size, place.size, 0, (struct sockaddr *)&to, sizeof to) < 0)
            fail("sendto");
}

static void together(int burst)
{
    send_segments(fd, &to, place.size, burst, burst);
}

static struct tally bursts(const char *line, void (*send_burst)(int burst))
{
    unsigned long count = strtoul(line, NULL, 10);
    struct tally tally = {.packets = count, .bytes = count * place.size};
    for (unsigned long sent = 0; sent < count;) {
        unsigned long now = count - sent < (unsigned long)place.number ? count - sent : (unsigned long)place.number;
        unsigned long before = clock_now(CLOCK_THREAD_CPUTIME_ID);
        send_burst(now);
        tally.nanoseconds += clock_now(CLOCK_THREAD_CPUTIME_ID) - before;
        sent += now;
        nanosleep(&(struct timespec){.tv_nsec = BETWEEN}, NULL);
    }
    return tally;
}

static struct tally by_sendto(const char *line)
{
    return bursts(line, one_by_one);
}

static struct tally by_segment(const char *line)
{
    return bursts(line, together);
}

const struct way live_ways[] = {
    {"live", "sendto", open_one, by_sendto},
    {"live", "segment", open_one, by_segment},
    {0},
};
