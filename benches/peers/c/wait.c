/* Waits with epoll, and receives. */
#include "peer.h"

#include <sys/resource.h>
#include <time.h>

static int epoll, *fds;
static char buffer[BUFFER];

static ssize_t receive_one(int index, struct tally *tally)
{
    struct sockaddr_in source;
    socklen_t length = sizeof source;
    ssize_t got = recvfrom(fds[index], buffer, sizeof buffer, 0, (struct sockaddr *)&source, &length);
    if (got >= 0)
        see(tally, buffer, got, &source);
    return got;
}

/* `number` sockets with the same group and port: each packet comes to all of them. */
static void open_same(void)
{
    epoll = new_epoll();
    fds = calloc(place.number, sizeof *fds);
    for (int i = 0; i < place.number; i++)
        watch(epoll, fds[i] = open_receiver(place.port), i);
}

/* The first of `number` sockets is busy; the others, on the next ports, get nothing. */
static void open_idle(void)
{
    struct rlimit files = {place.number + 64, place.number + 64}, now;
    getrlimit(RLIMIT_NOFILE, &now);
    if (now.rlim_cur < files.rlim_cur) {
        files.rlim_max = now.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    epoll = new_epoll();
    fds = calloc(place.number, sizeof *fds);
    for (int i = 0; i < place.number; i++)
        watch(epoll, fds[i] = open_receiver(place.port + i), i);
}

static void open_one(void)
{
    place.number = 1;
    open_same();
}

static struct tally bursts(const char *line)
{
    struct tally tally = {0};
    struct epoll_event event;
    (void)line;
    while (epoll_wait(epoll, &event, 1, 0) > 0)
        while (receive_one(event.data.u32, &tally) >= 0)
            ;
    return tally;
}

static struct tally one_an_event(const char *line)
{
    struct tally tally = {0};
    struct epoll_event events[16];
    int ready;
    (void)line;
    while ((ready = epoll_wait(epoll, events, 16, 0)) > 0)
        for (int i = 0; i < ready; i++)
            receive_one(events[i].data.u32, &tally);
    return tally;
}

static struct tally at_a_rate(const char *line)
{
    struct tally tally = {0};
    struct epoll_event events[16];
    unsigned long count = strtoul(line, NULL, 10);
    int ready;
    while (tally.packets < count && (ready = epoll_wait(epoll, events, 16, tally.packets ? SILENCE : PATIENCE)) > 0)
        for (int i = 0; i < ready; i++)
            while (receive_one(events[i].data.u32, &tally) >= 0)
                ;
    return tally;
}

/* Sleeps before it asks again, so that packets gather: it wakes up at most once in `interval` nanoseconds. */
static struct tally gather(const char *line, unsigned long interval)
{
    struct tally tally = {0};
    struct epoll_event events[16];
    unsigned long count = strtoul(line, NULL, 10), due = 0, now;
    int ready;
    while (tally.packets < count) {
        if ((now = clock_now(CLOCK_MONOTONIC)) < due)
            nanosleep(&(struct timespec){.tv_nsec = due - now}, NULL);
        if ((ready = epoll_wait(epoll, events, 16, tally.packets ? SILENCE : PATIENCE)) <= 0)
            break;
        due = clock_now(CLOCK_MONOTONIC) + interval;
        for (int i = 0; i < ready; i++)
            while (receive_one(events[i].data.u32, &tally) >= 0)
                ;
    }
    return tally;
}

static struct tally gather_1ms(const char *line)
{
    return gather(line, 1000000);
}

static struct tally gather_5ms(const char *line)
{
    return gather(line, 5000000);
}

const struct way wait_ways[] = {
    {"burst", "epoll", open_same, bursts},
    {"registered", "epoll", open_idle, one_an_event},
    {"rate", "epoll", open_one, at_a_rate},
    {"rate", "gather-1ms", open_one, gather_1ms},
    {"rate", "gather-5ms", open_one, gather_5ms},
    {0},
};
