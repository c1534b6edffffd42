/* Shared by the peers in C. One process is one peer; peer.c describes the protocol. */
#ifndef PEER_H
#define PEER_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Newer than some C libraries: linux/udp.h. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* How many packets one system call carries, if it can carry many. */
#define BATCH 64
/* The buffer of every peer, except those that receive coalesced packets. */
#define BUFFER 2048
/* The longest payload of a UDP packet over IPv4. */
#define LONGEST 65507
/* How long a peer waits for a packet that should come, in milliseconds. */
#define PATIENCE 5000
/* After this time without a packet, in milliseconds, the missing ones are lost. */
#define SILENCE 300

/* The parameters of the peer, from its command line. */
struct place {
    const char *group;
    int port;
    int size;
    int number;
};
extern struct place place;

/* The result of a piece of work. */
struct tally {
    unsigned long packets;
    unsigned long bytes;
    /* Computed from the packets, so that the compiler cannot remove reading them. */
    unsigned long sum;
    /* Set if the result is not CPU time. */
    unsigned long nanoseconds;
};

/* A way to do a task: `open` once, then `work` for each line of input. */
struct way {
    const char *task;
    const char *name;
    void (*open)(void);
    struct tally (*work)(const char *line);
};
extern const struct way drain_ways[], wait_ways[], send_ways[], trip_ways[], filler_ways[];
extern const struct way more_send_ways[], live_ways[], link_ways[], question_ways[];

static inline void see(struct tally *tally, const char *payload, unsigned long length, const struct sockaddr_in *source)
{
    tally->packets += 1;
    tally->bytes += length;
    tally->sum += (unsigned char)payload[0] + source->sin_port;
}

void fail(const char *what);
unsigned long clock_now(int clock);
struct sockaddr_in address_of(const char *group, int port);
int open_receiver(int port);
int open_sender(void);
/* The same on the interface with this index, instead of lo. */
int open_receiver_on(int port, int index);
int open_sender_on(int index);
int new_epoll(void);
void watch(int epoll, int fd, int index);
/* Sends `count` packets, `segments` in one call (UDP_SEGMENT) if that is more than 1. */
unsigned long send_segments(int fd, const struct sockaddr_in *to, int size, unsigned long count, int segments);
/* Sends `count` packets, at most BATCH, in one call, each from a place of its own: they lie side by side. */
void send_gathered(int socket, const struct sockaddr_in *address, char *first, int size, unsigned long count);
/* Receives the packets that the kernel coalesced (UDP_GRO); returns their length in all, or -1. */
ssize_t receive_coalesced(int fd, char *whole, unsigned long length, struct tally *tally);
/* Sorts them. */
unsigned long median_of(unsigned long *times, unsigned long count);
/* The most packets of this size that one call may carry. */
int segments_of(int size);

#endif
