/*
 * connection.c: one socket to the server: open, send, receive, wait, close.
 *
 * Everything is non-blocking; the only wait is on the latch and the socket together, so
 * that a cancel acts at once. Whoever no longer wants a request closes its connection: that
 * is how the server learns. Which connection serves which scan is pool.c's business.
 */
#include "annex.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

#define INPUT_SIZE (16 * 1024)
#define KEEP_SIZE (256 * 1024)
#define REPLAY_LIMIT (1024 * 1024)
#define CONNECT_MS 5000
#define SOCKET_EVENT 0

/* What pg_stat_activity shows as the wait event; before 17 extensions share one name. */
static uint32
wait_event(void)
{
#if PG_VERSION_NUM >= 170000
	static uint32 event = 0;

	if (event == 0)
		event = WaitEventExtensionNew("PgannexServer");
	return event;
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* Close the socket and forget the request. Never raises. */
void
annex_connection_close(AnnexConnection *conn)
{
	if (conn->holder != NULL)
		*conn->holder = NULL;
	conn->holder = NULL;
	if (conn->set != NULL)
		FreeWaitEventSet(conn->set);
	conn->set = NULL;
	if (conn->fd >= 0)
	{
		close(conn->fd);
		ReleaseExternalFD();
	}
	conn->fd = -1;
	if (conn->out.data != NULL)
		pfree(conn->out.data);
	if (conn->in != NULL)
		pfree(conn->in);
	memset(&conn->out, 0, sizeof(conn->out));
	conn->in = NULL;
	conn->in_cap = conn->in_at = conn->in_len = 0;
}

static void
cannot_connect(int error)
{
	if (error == EACCES || error == EPERM)
		ereport(ERROR,
				(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				 errmsg("the socket \"%s\" of the pgannex server may not be used by this database",
						annex_socket_path),
				 errdetail("code: server_down\n%s", strerror(error)),
				 errhint("the database's system user must be in the socket's group: see pgannex doctor")));
	ereport(ERROR,
			(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
			 errmsg("nothing answers on the pgannex server's socket \"%s\"", annex_socket_path),
			 errdetail("code: server_down\n%s", strerror(error)),
			 errhint("is the pgannex server running? see pgannex doctor")));
}

/* connect(), waiting a while where the server's backlog is full; returns 0 or errno. */
static int
connect_socket(pgsocket fd, const struct sockaddr_un *address)
{
	TimestampTz give_up = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CONNECT_MS);
	long		pause = 1;

	while (connect(fd, (const struct sockaddr *) address, sizeof(*address)) < 0)
	{
		int			error = errno;

		if (error == EINTR)
			continue;
		if (error != EAGAIN || GetCurrentTimestamp() >= give_up)
			return error;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, pause,
						 wait_event());
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		pause = Min(pause * 2, 50);
	}
	return 0;
}

static void
put_hello(AnnexConnection *conn)
{
	char		client[80];
	char	   *database = get_database_name(MyDatabaseId);

	snprintf(client, sizeof(client), "pgml/%s native postgres/%d", ANNEX_VERSION, PG_VERSION_NUM);
	frame_put_hello(&conn->out, (uint32_t) MyProcPid, client,
					annex_to_utf8(database ? database : ""),
					annex_to_utf8(application_name ? application_name : ""));
}

/*
 * The socket of this backend's client. A Port begins with it in every version; its own
 * header would need those of GSSAPI and OpenSSL, which not every machine has.
 */
static pgsocket
client_socket(void)
{
	return MyProcPort == NULL ? PGINVALID_SOCKET : *(pgsocket *) MyProcPort;
}

static struct WaitEventSet *
create_wait_set(pgsocket fd)
{
#if PG_VERSION_NUM >= 170000
	WaitEventSet *set = CreateWaitEventSet(NULL, 4);
#else
	WaitEventSet *set = CreateWaitEventSet(annex_memory(), 4);
#endif

	AddWaitEventToSet(set, WL_SOCKET_READABLE, fd, NULL, NULL);
	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	/* Nobody should compute for a client that has gone; a parallel worker's leader looks. */
	if (client_socket() != PGINVALID_SOCKET && WaitEventSetCanReportClosed())
		AddWaitEventToSet(set, WL_SOCKET_CLOSED, client_socket(), NULL, NULL);
	return set;
}

/*
 * Open the socket and queue HELLO. `conn` is closed. What fails here leaves it open for
 * the cleanup of its holder.
 */
void
annex_connection_open(AnnexConnection *conn)
{
	struct sockaddr_un address;
	int			error;

	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	if (strlen(annex_socket_path) >= sizeof(address.sun_path))
		cannot_connect(ENAMETOOLONG);
	strcpy(address.sun_path, annex_socket_path);
	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("too many open files in this backend"),
				 errdetail("code: server_down")));
	conn->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (conn->fd < 0)
	{
		error = errno;
		ReleaseExternalFD();
		cannot_connect(error);
	}
	error = connect_socket(conn->fd, &address);
	if (error != 0)
	{
		annex_connection_close(conn);
		cannot_connect(error);
	}
	conn->set = create_wait_set(conn->fd);
	conn->wants_write = false;
	conn->generation = annex_socket_generation;
	conn->reused = false;
	conn->welcomed = false;
	conn->window = FRAME_DEFAULT_WINDOW;
	conn->max_frame = FRAME_MAX;
	conn->in = MemoryContextAlloc(annex_memory(), INPUT_SIZE);
	conn->in_cap = INPUT_SIZE;
}

/* Take the buffers of a fresh or an idle connection to where a request begins. */
void
annex_connection_begin(AnnexConnection *conn, bool hello)
{
	conn->out.owner = annex_memory();
	conn->out.len = 0;
	conn->sent = 0;
	conn->heard = false;
	conn->replayable = true;
	if (hello)
		put_hello(conn);
}

/*
 * The server went away while the connection was idle: open it again and queue what was
 * sent since OPEN once more. Done once per request: a reopened connection is not `reused`.
 */
void
annex_connection_reopen(AnnexConnection *conn)
{
	AnnexConnection **holder = conn->holder;
	size_t		len = conn->out.len;
	char	   *request = palloc(Max(len, 1));

	memcpy(request, conn->out.data, len);
	annex_connection_close(conn);
	conn->holder = holder;
	*holder = conn;
	annex_connection_open(conn);
	annex_connection_begin(conn, true);
	frame_put(&conn->out, request, len);
	pfree(request);
}

size_t
annex_connection_unsent(AnnexConnection *conn)
{
	return conn->out.len - conn->sent;
}

/* Send what is queued, as far as the socket takes it. */
AnnexIo
annex_connection_flush(AnnexConnection *conn)
{
	while (conn->sent < conn->out.len)
	{
		ssize_t		n = send(conn->fd, conn->out.data + conn->sent, conn->out.len - conn->sent,
							 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			conn->sent += n;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return IO_AGAIN;
		else if (errno != EINTR)
			return IO_LOST;
	}
	/* Small requests are kept until the server is heard, for annex_connection_reopen. */
	if (conn->heard || conn->out.len > REPLAY_LIMIT)
	{
		conn->replayable &= conn->heard;
		conn->out.len = conn->sent = 0;
		if (conn->out.cap > 4 * REPLAY_LIMIT)
		{
			pfree(conn->out.data);
			conn->out.data = NULL;
			conn->out.cap = 0;
		}
	}
	return IO_DONE;
}

/* Make room for the frame whose start is buffered, or for one more read. */
static void
make_room(AnnexConnection *conn)
{
	size_t		held = conn->in_len - conn->in_at;
	size_t		need = INPUT_SIZE;
	FrameHeader header;

	if (held >= FRAME_HEADER_SIZE &&
		frame_header(conn->in + conn->in_at, conn->max_frame, &header) == NULL)
		need = Max(need, (size_t) header.length + FRAME_HEADER_SIZE);
	if (conn->in_at > 0)
		memmove(conn->in, conn->in + conn->in_at, held);
	conn->in_at = 0;
	conn->in_len = held;
	if (need > conn->in_cap || (held == 0 && conn->in_cap > KEEP_SIZE))
	{
		need = Max(need, held + 1);
		conn->in = repalloc_huge(conn->in, need);
		conn->in_cap = need;
	}
}

/* Read once. IO_AGAIN: nothing there. IO_LOST: the other end is gone. */
AnnexIo
annex_connection_receive(AnnexConnection *conn)
{
	ssize_t		n;

	if (conn->in_at == conn->in_len && conn->in_cap <= KEEP_SIZE)
		conn->in_at = conn->in_len = 0;
	else
		make_room(conn);
	do
		n = recv(conn->fd, conn->in + conn->in_len, conn->in_cap - conn->in_len, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return IO_AGAIN;
	if (n <= 0)
		return IO_LOST;
	conn->in_len += n;
	conn->heard = true;
	return IO_DONE;
}

/* Cut the next whole frame; its payload is valid until the next read. */
bool
annex_connection_frame(AnnexConnection *conn, FrameHeader *header, const uint8 **payload)
{
	size_t		held = conn->in_len - conn->in_at;
	const uint8 *at = conn->in + conn->in_at;
	const char *wrong;

	if (held < FRAME_HEADER_SIZE)
		return false;
	wrong = frame_header(at, conn->max_frame, header);
	if (wrong != NULL)
		annex_protocol_error(wrong);
	if (held - FRAME_HEADER_SIZE < header->length)
		return false;
	*payload = at + FRAME_HEADER_SIZE;
	conn->in_at += FRAME_HEADER_SIZE + header->length;
	return true;
}

/*
 * Wait until the socket can be read (or written, while bytes are queued), at most
 * `timeout_ms`. False when the time is over. Cancels and terminations raise from here.
 */
bool
annex_connection_wait(AnnexConnection *conn, long timeout_ms)
{
	bool		wants_write = annex_connection_unsent(conn) > 0;
	WaitEvent	event;

	if (wants_write != conn->wants_write)
	{
		ModifyWaitEvent(conn->set, SOCKET_EVENT,
						WL_SOCKET_READABLE | (wants_write ? WL_SOCKET_WRITEABLE : 0), NULL);
		conn->wants_write = wants_write;
	}
	if (WaitEventSetWait(conn->set, timeout_ms, &event, 1, wait_event()) == 0)
		return false;
	if (event.events & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	if (event.events & WL_SOCKET_CLOSED)
	{
		ClientConnectionLost = true;
		InterruptPending = true;
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}
