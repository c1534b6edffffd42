/* Round trips: `ping` sends and waits for the answer, `pong` answers. Both wait with epoll; the way `spin` asks it without
 * sleeping for some time first. Ping receives on the given port and sends to the next one, pong does the opposite. */
#include "peer.h"

#include <time.h>

/* The budget of those that spin, in nanoseconds. */
#define SPIN 200000ul

static int receiver, sender, epoll;
static struct sockaddr_in to;
static char buffer[BUFFER];
/* How long to ask before it sleeps, in nanoseconds. */
static unsigned long budget;

static void open_ping(void)
{
    receiver = open_receiver(place.port);
    to = address_of(place.group, place.port + 1);
    sender = open_sender();
    epoll = new_epoll();
    watch(epoll, receiver, 0);
}

static void open_pong(void)
{
    receiver = open_receiver(place.port + 1);
    to = address_of(place.group, place.port);
    sender = open_sender();
    epoll = new_epoll();
    watch(epoll, receiver, 0);
}

static void open_spinning_ping(void)
{
    budget = SPIN;
    open_ping();
}

static void open_spinning_pong(void)
{
    budget = SPIN;
    open_pong();
}

/* Whether something came within the budget. */
static int spin(struct epoll_event *event)
{
    unsigned long end = clock_now(CLOCK_MONOTONIC) + budget;
    do {
        if (epoll_wait(epoll, event, 1, 0) == 1)
            return 1;
    } while (clock_now(CLOCK_MONOTONIC) < end);
    return 0;
}

static void hear(struct tally *tally)
{
    struct epoll_event event;
    struct sockaddr_in source;
    socklen_t length = sizeof source;
    ssize_t got;
    if (!(budget && spin(&event)) && epoll_wait(epoll, &event, 1, PATIENCE) != 1)
        fail("a packet is lost");
    got = recvfrom(receiver, buffer, sizeof buffer, 0, (struct sockaddr *)&source, &length);
    if (got < 0)
        fail("recvfrom");
    see(tally, buffer, got, &source);
}

static void say(void)
{
    if (sendto(sender, buffer, place.size, 0, (struct sockaddr *)&to, sizeof to) < 0)
        fail("sendto");
}

static int ascending(const void *left, const void *right)
{
    unsigned long a = *(const unsigned long *)left, b = *(const unsigned long *)right;
    return (a > b) - (a < b);
}

unsigned long median_of(unsigned long *times, unsigned long count)
{
    qsort(times, count, sizeof *times, ascending);
    return times[count / 2];
}

/* The result is the median times the number of trips: one trip that the machine delayed must not count. */
static struct tally ping(const char *line)
{
    unsigned long count = strtoul(line, NULL, 10), *times = calloc(count, sizeof *times);
    struct tally tally = {0};
    for (unsigned long i = 0; i < count; i++) {
        unsigned long start = clock_now(CLOCK_MONOTONIC);
        say();
        hear(&tally);
        times[i] = clock_now(CLOCK_MONOTONIC) - start;
    }
    tally.nanoseconds = median_of(times, count) * count;
    free(times);
    return tally;
}

static struct tally pong(const char *line)
{
    unsigned long count = strtoul(line, NULL, 10);
    struct tally tally = {0};
    while (tally.packets < count) {
        hear(&tally);
        say();
    }
    return tally;
}

const struct way trip_ways[] = {
    {"ping", "epoll", open_ping, ping},
    {"pong", "epoll", open_pong, pong},
    {"ping", "spin", open_spinning_ping, ping},
    {"pong", "spin", open_spinning_pong, pong},
    {0},
};
