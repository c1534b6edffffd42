/* Drains a full queue: receives until there is nothing left. */
#include "peer.h"

static int fd, epoll;
static char buffer[BUFFER];
static char whole[65535];

static void open_plain(void)
{
    fd = open_receiver(place.port);
}

static void open_epoll(void)
{
    open_plain();
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

static void done(void)
{
    if (errno != EAGAIN)
        fail("receive");
}

static struct tally by_recvfrom(const char *line)
{
    struct tally tally = {0};
    (void)line;
    for (;;) {
        struct sockaddr_in source;
        socklen_t length = sizeof source;
        ssize_t got = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&source, &length);
        if (got < 0)
            break;
        see(&tally, buffer, got, &source);
    }
    done();
    return tally;
}

static struct tally by_recvmmsg(const char *line)
{
    static char buffers[BATCH][BUFFER];
    static struct sockaddr_in sources[BATCH];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    struct tally tally = {0};
    int got;
    (void)line;
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){buffers[i], BUFFER};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &sources[i], .msg_namelen = sizeof sources[i], .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    while ((got = recvmmsg(fd, messages, BATCH, 0, NULL)) > 0)
        for (int i = 0; i < got; i++)
            see(&tally, buffers[i], messages[i].msg_len, &sources[i]);
    done();
    return tally;
}

static struct tally by_epoll(const char *line)
{
    struct tally tally = {0};
    struct epoll_event event;
    (void)line;
    while (epoll_wait(epoll, &event, 1, 0) > 0) {
        struct sockaddr_in source;
        socklen_t length = sizeof source;
        ssize_t got = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&source, &length);
        if (got >= 0)
            see(&tally, buffer, got, &source);
    }
    return tally;
}

/* One read returns many packets of one sender; the control message has their size. */
ssize_t receive_coalesced(int socket, char *into, unsigned long length, struct tally *tally)
{
    struct sockaddr_in source;
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec part = {into, length};
    struct msghdr message = {.msg_name = &source, .msg_namelen = sizeof source, .msg_iov = &part, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(socket, &message, 0);
    int size = got;
    if (got < 0)
        return got;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
            memcpy(&size, CMSG_DATA(c), sizeof size);
    if (got == 0)
        see(tally, into, 0, &source);
    for (ssize_t at = 0; at < got; at += size)
        see(tally, into + at, got - at < size ? got - at : size, &source);
    return got;
}

static struct tally by_gro(const char *line)
{
    struct tally tally = {0};
    (void)line;
    while (receive_coalesced(fd, whole, sizeof whole, &tally) >= 0)
        ;
    done();
    return tally;
}

const struct way drain_ways[] = {
    {"drain", "recvfrom", open_plain, by_recvfrom},
    {"drain", "recvmmsg", open_plain, by_recvmmsg},
    {"drain", "epoll", open_epoll, by_epoll},
    {"drain", "gro", open_gro, by_gro},
    {0},
};
