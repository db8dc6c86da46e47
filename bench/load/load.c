/*
 * load.c: one load generator for both sides of a comparison.
 *
 * N threads, each with one connection and one request under way, ask for a random id again and
 * again: by a prepared statement with one int parameter, or by GET over keep-alive HTTP. What it
 * costs to generate the load is so nearly the same for both. Built by bench/bars/serving.py.
 *
 *     load pg   CONNINFO  SQL          CLIENTS SECONDS IDS
 *     load http HOST:PORT PATH-WITH-%d CLIENTS SECONDS IDS
 *
 * Prints: requests, seconds, p50 and p99 in microseconds. Any failure ends it with status 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_SAMPLES (1 << 21)

typedef struct Client
{
	pthread_t	thread;
	unsigned	seed;
	long		requests;
	uint32_t   *samples;		/* microseconds, the first MOST_SAMPLES of them */
	char		failure[200];
} Client;

static const char *target,
		   *what;
static int	seconds,
			ids;
static double begin_at,
			end_at;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int
next_id(Client *client)
{
	return 1 + rand_r(&client->seed) % ids;
}

/* Note one answered request that began at `start`. */
static void
count(Client *client, double start)
{
	double		stop = now();

	if (start < begin_at || stop > end_at)
		return;
	if (client->requests < MOST_SAMPLES)
		client->samples[client->requests] = (uint32_t) ((stop - start) * 1e6);
	client->requests++;
}

static void
ask_postgres(Client *client)
{
	PGconn	   *conn = PQconnectdb(target);
	PGresult   *result;

	if (PQstatus(conn) != CONNECTION_OK)
	{
		snprintf(client->failure, sizeof client->failure, "%s", PQerrorMessage(conn));
		return;
	}
	result = PQprepare(conn, "q", what, 1, NULL);
	PQclear(result);
	while (now() < end_at)
	{
		char		id[16];
		const char *values[1] = {id};
		double		start = now();

		snprintf(id, sizeof id, "%d", next_id(client));
		result = PQexecPrepared(conn, "q", 1, values, NULL, NULL, 0);
		if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
		{
			snprintf(client->failure, sizeof client->failure, "%s", PQresultErrorMessage(result));
			return;
		}
		PQclear(result);
		count(client, start);
	}
	PQfinish(conn);
}

/* Read one response with a Content-Length; 0 if it is not a 200 with a whole body. */
static int
read_response(int sock, char *buffer, size_t size)
{
	size_t		have = 0;

	for (;;)
	{
		ssize_t		got = recv(sock, buffer + have, size - 1 - have, 0);
		char	   *body,
				   *length;

		if (got <= 0)
			return 0;
		have += got;
		buffer[have] = 0;
		body = strstr(buffer, "\r\n\r\n");
		if (body == NULL)
			continue;
		length = strcasestr(buffer, "content-length:");
		if (strncmp(buffer, "HTTP/1.1 200", 12) != 0 || length == NULL || length > body)
			return 0;
		if (have >= (size_t) (body + 4 - buffer) + strtoul(length + 15, NULL, 10))
			return 1;
	}
}

static void
ask_http(Client *client)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	char		host[64],
				buffer[16384],
				path[256],
				request[512];
	int			port,
				one = 1,
				sock = socket(AF_INET, SOCK_STREAM, 0);

	if (sscanf(target, "%63[^:]:%d", host, &port) != 2)
		port = 0;
	address.sin_port = htons(port);
	inet_pton(AF_INET, host, &address.sin_addr);
	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(sock, (struct sockaddr *) &address, sizeof address) != 0)
	{
		snprintf(client->failure, sizeof client->failure, "cannot connect to %s", target);
		return;
	}
	while (now() < end_at)
	{
		double		start = now();
		int			n;
		const char *hole = strstr(what, "%d");

		snprintf(path, sizeof path, "%.*s%d%s", (int) (hole - what), what, next_id(client), hole + 2);
		n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host);
		if (send(sock, request, n, MSG_NOSIGNAL) != n || !read_response(sock, buffer, sizeof buffer))
		{
			snprintf(client->failure, sizeof client->failure, "GET %.60s failed: %.100s", path, buffer);
			return;
		}
		count(client, start);
	}
	close(sock);
}

static int	speaks_http;

static void *
run(void *arg)
{
	Client	   *client = arg;

	if (speaks_http)
		ask_http(client);
	else
		ask_postgres(client);
	return NULL;
}

static int
compare(const void *a, const void *b)
{
	uint32_t	x = *(const uint32_t *) a,
				y = *(const uint32_t *) b;

	return (x > y) - (x < y);
}

int
main(int argc, char **argv)
{
	int			nclients;
	long		total = 0,
				nsamples = 0;
	Client	   *clients;
	uint32_t   *all;

	if (argc != 7)
	{
		fprintf(stderr, "usage: load pg|http TARGET SQL|PATH CLIENTS SECONDS IDS\n");
		return 2;
	}
	speaks_http = strcmp(argv[1], "http") == 0;
	target = argv[2];
	what = argv[3];
	nclients = atoi(argv[4]);
	seconds = atoi(argv[5]);
	ids = atoi(argv[6]);
	if (nclients < 1 || seconds < 1 || ids < 1 || (speaks_http && strstr(what, "%d") == NULL))
	{
		fprintf(stderr, "load: CLIENTS, SECONDS and IDS are at least 1, and PATH holds %%d\n");
		return 2;
	}
	/* The first second warms connections and plans and is not counted. */
	begin_at = now() + 1;
	end_at = begin_at + seconds;
	clients = calloc(nclients, sizeof *clients);
	for (int i = 0; i < nclients; i++)
	{
		clients[i].seed = 7919 * (i + 1);
		clients[i].samples = malloc(MOST_SAMPLES * sizeof(uint32_t));
		pthread_create(&clients[i].thread, NULL, run, &clients[i]);
	}
	for (int i = 0; i < nclients; i++)
		pthread_join(clients[i].thread, NULL);
	for (int i = 0; i < nclients; i++)
	{
		if (clients[i].failure[0] != 0)
		{
			fprintf(stderr, "load: %s\n", clients[i].failure);
			return 1;
		}
		total += clients[i].requests;
		nsamples += clients[i].requests < MOST_SAMPLES ? clients[i].requests : MOST_SAMPLES;
	}
	all = malloc((nsamples + 1) * sizeof *all);
	nsamples = 0;
	for (int i = 0; i < nclients; i++)
	{
		long		n = clients[i].requests < MOST_SAMPLES ? clients[i].requests : MOST_SAMPLES;

		memcpy(all + nsamples, clients[i].samples, n * sizeof *all);
		nsamples += n;
	}
	qsort(all, nsamples, sizeof *all, compare);
	if (nsamples == 0)
	{
		fprintf(stderr, "load: not one request was answered\n");
		return 1;
	}
	printf("%ld %d %u %u\n", total, seconds, all[nsamples / 2], all[nsamples * 99 / 100]);
	return 0;
}
