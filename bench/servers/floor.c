/* The floor: what the kernel asks for. A loop of write() of the same events to the same sockets.
 *
 * It accepts connections and answers each with the head of an event stream until it is told to publish:
 * then it formats each event when it is due and writes it to every socket, one write() for each. It neither
 * polls, nor parses, nor keeps anything, so no server that writes each event can be faster.
 * `floor 8` joins eight events into each write(): that is what the load client itself is measured with.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 20000
#define LANES 20

static int readers[MOST];
static int count;
static int joined = 1;

static int64_t now_ns(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void welcome(int listener) {
    char request[4096];
    int fd = accept(listener, NULL, NULL);
    if (fd < 0 || count == MOST) return;
    if (read(fd, request, sizeof request) <= 0) {
        close(fd);
        return;
    }
    dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    readers[count++] = fd;
}

static int format(char *out, int64_t number, int progress) {
    char block[900], stamp[64];
    int64_t wall_ms = now_ns(CLOCK_REALTIME) / 1000000;
    time_t seconds = wall_ms / 1000;
    struct tm utc;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &utc));
    int length = snprintf(block, sizeof block,
        "id: k3f9a1b2-%lld\ndata: {\"operation_id\":\"remove-config-1721181234567-abc%06lld\","
        "\"step\":\"remove-router\",\"status\":\"in_progress\","
        "\"message\":\"Eliminando configuraci\xc3\xb3n IP del equipo, regla %08lld t=%019lld\","
        "\"progress\":%d,\"timestamp\":\"%s.%03dZ\"}\n\n",
        (long long)number + 1, (long long)number % LANES, (long long)number,
        (long long)now_ns(CLOCK_MONOTONIC), progress, stamp, (int)(wall_ms % 1000));
    return sprintf(out, "%x\r\n%s\r\n", length, block);
}

static void publish(int64_t start, double rate, double seconds) {
    int64_t end = start + (int64_t)(seconds * 1e9), published = 0, late = 0;
    static char out[1024 * 64];
    for (;;) {
        int64_t due = start + (int64_t)(published / rate * 1e9), now = now_ns(CLOCK_MONOTONIC);
        if (now >= end || due >= end) break;
        if (now < due) {
            struct timespec until = {due / 1000000000, due % 1000000000};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
            continue;
        }
        if (now - due > late) late = now - due;
        int length = 0;
        for (int i = 0; i < joined; i++)
            length += format(out + length, published + i, (int)(published * 100 / (rate * seconds)));
        for (int i = 0; i < count; i++)
            if (write(readers[i], out, length) != length) return;
        published += joined;
    }
    printf("{\"published\":%lld,\"late_ms\":%.3f}\n", (long long)published, late / 1e6);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc > 1) joined = atoi(argv[1]);
    if (joined < 1 || joined > 64) return 2;
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&address, size) || listen(listener, 4096)) return 1;
    getsockname(listener, (void *)&address, &size);
    printf("{\"port\":%d,\"pids\":[%d],\"versions\":{}}\n", ntohs(address.sin_port), getpid());
    fflush(stdout);
    struct pollfd both[2] = {{.fd = 0, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    while (poll(both, 2, -1) > 0) {
        if (both[1].revents) welcome(listener);
        if (both[0].revents) {
            char line[512];
            ssize_t length = read(0, line, sizeof line - 1);
            if (length <= 0) break;
            line[length] = 0;
            const char *start = strstr(line, "\"start_ns\":"), *rate = strstr(line, "\"rate\":"),
                       *seconds = strstr(line, "\"seconds\":");
            if (start && rate && seconds) publish(atoll(start + 11), atof(rate + 7), atof(seconds + 10));
        }
    }
    return 0;
}
