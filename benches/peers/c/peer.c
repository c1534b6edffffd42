/* The peers in C.
 *
 *     peer-c TASK WAY CPU GROUP PORT SIZE NUMBER
 *
 * It pins itself to the processor, opens its sockets and prints `ready`. For each line of input, which is a count, it does its task
 * once and prints `PACKETS BYTES NANOSECONDS ALLOCATIONS`: the CPU time of this thread, and 0 allocations, since it makes none.
 * It ends when its input is closed. All sockets stay on lo.
 */
#include "peer.h"

#include <net/if.h>
#include <sched.h>
#include <time.h>

struct place place;

void fail(const char *what)
{
    perror(what);
    exit(1);
}

unsigned long clock_now(int clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000ul + now.tv_nsec;
}

struct sockaddr_in address_of(const char *group, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, group, &address.sin_addr) != 1)
        fail(group);
    return address;
}

static void set(int fd, int level, int option, int value)
{
    if (setsockopt(fd, level, option, &value, sizeof value) < 0)
        fail("setsockopt");
}

int open_receiver_on(int port, int index)
{
    struct sockaddr_in group = address_of(place.group, port);
    struct ip_mreqn membership = {.imr_multiaddr = group.sin_addr, .imr_ifindex = index};
    int wanted = 4 << 20;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof wanted) < 0)
        set(fd, SOL_SOCKET, SO_RCVBUF, wanted);
    if (bind(fd, (struct sockaddr *)&group, sizeof group) < 0)
        fail("bind");
    if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &membership, sizeof membership) < 0)
        fail("IP_ADD_MEMBERSHIP");
    return fd;
}

static int open_sender_from(int index, in_addr_t source)
{
    struct ip_mreqn interface = {.imr_ifindex = index, .imr_address.s_addr = source};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof interface) < 0)
        fail("IP_MULTICAST_IF");
    return fd;
}

int open_receiver(int port)
{
    return open_receiver_on(port, if_nametoindex("lo"));
}

int open_sender(void)
{
    return open_sender_from(if_nametoindex("lo"), htonl(INADDR_LOOPBACK));
}

int open_sender_on(int index)
{
    /* The kernel takes the interface's address, which it does not on lo. */
    int fd = open_sender_from(index, htonl(INADDR_ANY)), wanted = 4 << 20;
    /* A device that gathers packets keeps them for a while. */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) < 0)
        set(fd, SOL_SOCKET, SO_SNDBUF, wanted);
    return fd;
}

int new_epoll(void)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        fail("epoll_create1");
    return epoll;
}

void watch(int epoll, int fd, int index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}

static const struct way *find(const char *task, const char *name)
{
    const struct way *tables[] = {drain_ways, wait_ways, send_ways, trip_ways, filler_ways,
                                  more_send_ways, live_ways, link_ways, question_ways};
    for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct way *way = tables[i]; way->task; way++)
            if (!strcmp(way->task, task) && !strcmp(way->name, name))
                return way;
    fprintf(stderr, "peer-c: no way '%s' to %s\n", name, task);
    exit(2);
}

int main(int argc, char **argv)
{
    char line[256];
    cpu_set_t cpus;
    const struct way *way;

    if (argc != 8) {
        fprintf(stderr, "usage: peer-c TASK WAY CPU GROUP PORT SIZE NUMBER\n");
        return 2;
    }
    way = find(argv[1], argv[2]);
    CPU_ZERO(&cpus);
    CPU_SET(atoi(argv[3]), &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) < 0)
        fail("sched_setaffinity");
    place = (struct place){argv[4], atoi(argv[5]), atoi(argv[6]), atoi(argv[7])};
    way->open();
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        unsigned long before = clock_now(CLOCK_THREAD_CPUTIME_ID);
        struct tally tally = way->work(line);
        unsigned long spent = clock_now(CLOCK_THREAD_CPUTIME_ID) - before;
        /* Used, so that it must be computed. */
        volatile unsigned long sum = tally.sum;
        (void)sum;
        printf("%lu %lu %lu 0\n", tally.packets, tally.bytes, tally.nanoseconds ? tally.nanoseconds : spent);
        fflush(stdout);
    }
    return 0;
}
