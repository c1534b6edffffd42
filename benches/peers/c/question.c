/* Questions and answers: `ask` sends to the group and waits for the answer to its own port; `answer` receives from the group, and
 * sends to the source. Each of them has one socket, and waits with epoll. */
#include "peer.h"

#include <time.h>

static int fd, epoll;
static struct sockaddr_in to;
static char buffer[BUFFER];

static void open_ask(void)
{
    fd = open_sender();
    to = address_of(place.group, place.port);
    epoll = new_epoll();
    watch(epoll, fd, 0);
    /* Bound from the beginning, as sockets of the others are. */
    if (bind(fd, (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET}, sizeof to) < 0)
        fail("bind");
}

static void open_answer(void)
{
    fd = open_receiver(place.port);
    epoll = new_epoll();
    watch(epoll, fd, 0);
}

static struct sockaddr_in hear(struct tally *tally)
{
    struct epoll_event event;
    struct sockaddr_in source;
    socklen_t length = sizeof source;
    ssize_t got;
    if (epoll_wait(epoll, &event, 1, PATIENCE) != 1)
        fail("a packet is lost");
    got = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&source, &length);
    if (got < 0)
        fail("recvfrom");
    see(tally, buffer, got, &source);
    return source;
}

static void say(const struct sockaddr_in *address)
{
    if (sendto(fd, buffer, place.size, 0, (const struct sockaddr *)address, sizeof *address) < 0)
        fail("sendto");
}

static struct tally ask(const char *line)
{
    unsigned long count = strtoul(line, NULL, 10), *times = calloc(count, sizeof *times);
    struct tally tally = {0};
    for (unsigned long i = 0; i < count; i++) {
        unsigned long start = clock_now(CLOCK_MONOTONIC);
        say(&to);
        hear(&tally);
        times[i] = clock_now(CLOCK_MONOTONIC) - start;
    }
    tally.nanoseconds = median_of(times, count) * count;
    free(times);
    return tally;
}

static struct tally answer(const char *line)
{
    unsigned long count = strtoul(line, NULL, 10);
    struct tally tally = {0};
    while (tally.packets < count) {
        struct sockaddr_in source = hear(&tally);
        say(&source);
    }
    return tally;
}

const struct way question_ways[] = {
    {"ask", "epoll", open_ask, ask},
    {"answer", "epoll", open_answer, answer},
    {0},
};
