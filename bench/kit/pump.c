/* What the kernel alone takes of a proxied request: every piece of bytes that one side sends is read and
 * written to the other side, one epoll, one connection to the upstream for each client. It knows nothing
 * of HTTP, of time or of failures, and is no proxy; `bench/floor` measures it beside those that are.
 *
 *     pump PORT UPSTREAM_PORT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct side {
    int fd;
    struct side *other;
};

static int epoll;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct sockaddr_in local(const char *port) {
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(atoi(port)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void watch(struct side *side) {
    int on = 1;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = side};
    setsockopt(side->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, side->fd, &event)) fail("epoll_ctl");
}

static void take(int listener, const struct sockaddr_in *upstream) {
    int client;
    while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct side *near = malloc(sizeof *near), *far = malloc(sizeof *far);
        int server = socket(AF_INET, SOCK_STREAM, 0);
        if (!near || !far || server < 0) fail("pump");
        if (connect(server, (const void *)upstream, sizeof *upstream)) fail("connect");
        *near = (struct side){client, far};
        *far = (struct side){server, near};
        watch(near);
        watch(far);
    }
}

static void pass(struct side *from) {
    static char piece[16384];
    ssize_t count = recv(from->fd, piece, sizeof piece, MSG_DONTWAIT);
    if (count > 0 && send(from->other->fd, piece, count, MSG_NOSIGNAL) == count) return;
    if (count == 0) shutdown(from->other->fd, SHUT_WR);
}

int main(int count, char **arguments) {
    if (count != 3) return fputs("pump PORT UPSTREAM_PORT\n", stderr), 2;
    struct sockaddr_in here = local(arguments[1]), upstream = local(arguments[2]);
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&here, sizeof here) || listen(listener, 1024)) fail("listen");
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event)) fail("epoll_ctl");
    for (;;) {
        static struct epoll_event ready[1024];
        int n = epoll_wait(epoll, ready, 1024, -1);
        for (int i = 0; i < n; i++) {
            if (!ready[i].data.ptr)
                take(listener, &upstream);
            else if (ready[i].events & EPOLLIN)
                pass(ready[i].data.ptr);
        }
    }
}
