/*
 * pool.c: which of this backend's connections serves which scan.
 *
 * A connection carries one request at a time, so a scan that starts while another is under
 * way gets a connection of its own. A busy one belongs to the subtransaction in which its
 * scan began. Scans close theirs when their memory goes; the transaction callbacks catch
 * what is left, and never raise.
 */
#include "annex.h"

#include <errno.h>
#include <sys/socket.h>

#include "access/xact.h"

#define KEEP_IDLE 2
#define KEEP_SIZE (256 * 1024)

static AnnexConnection connections[ANNEX_MAX_CONNECTIONS];

static bool
is_open(const AnnexConnection *conn)
{
	return conn->fd >= 0;
}

/* Is an idle connection still usable? Bytes or an end that nobody waited for say no. */
static bool
is_alive(AnnexConnection *conn)
{
	char		byte;

	if (conn->generation != annex_socket_generation)
		return false;
	return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
		(errno == EAGAIN || errno == EWOULDBLOCK);
}

static AnnexConnection *
idle_connection(void)
{
	int			i;

	for (i = 0; i < ANNEX_MAX_CONNECTIONS; i++)
	{
		AnnexConnection *conn = &connections[i];

		if (!is_open(conn) || conn->holder != NULL)
			continue;
		if (is_alive(conn))
			return conn;
		annex_connection_close(conn);
	}
	return NULL;
}

static AnnexConnection *
free_slot(void)
{
	int			i;

	for (i = 0; i < ANNEX_MAX_CONNECTIONS; i++)
	{
		if (!is_open(&connections[i]) && connections[i].holder == NULL)
			return &connections[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("this backend already has %d requests to the pgannex server under way",
					ANNEX_MAX_CONNECTIONS),
			 errdetail("code: overloaded"),
			 errhint("close cursors, or read fewer foreign tables in one query")));
	return NULL;
}

/* Give `*holder` a connection: an idle one, or a new one. */
void
annex_connection_acquire(AnnexConnection **holder, SubTransactionId subid)
{
	AnnexConnection *conn = idle_connection();
	bool		fresh = conn == NULL;

	if (fresh)
		conn = free_slot();
	conn->holder = holder;
	conn->subid = subid;
	*holder = conn;
	if (fresh)
		annex_connection_open(conn);
	else
		conn->reused = true;
	annex_connection_begin(conn, fresh);
}

/* The request is over and all its frames are read: keep the connection for the next. */
void
annex_connection_release(AnnexConnection *conn)
{
	if (conn->in_at < conn->in_len || annex_connection_unsent(conn) > 0)
	{
		annex_connection_close(conn);
		return;
	}
	*conn->holder = NULL;
	conn->holder = NULL;
	if (conn->out.cap > KEEP_SIZE)
	{
		pfree(conn->out.data);
		memset(&conn->out, 0, sizeof(conn->out));
	}
}

/* The transaction is over: nothing may be busy any more, and few idle ones are kept. */
static void
transaction_ended(XactEvent event, void *arg)
{
	int			idle = 0;
	int			i;

	(void) arg;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PARALLEL_PRE_COMMIT ||
		event == XACT_EVENT_PRE_PREPARE)
		return;
	for (i = 0; i < ANNEX_MAX_CONNECTIONS; i++)
	{
		AnnexConnection *conn = &connections[i];

		if (conn->holder != NULL || (is_open(conn) && ++idle > KEEP_IDLE))
			annex_connection_close(conn);
	}
}

/* An aborted subtransaction ends only its own scans; a committed one leaves them above. */
static void
subtransaction_ended(SubXactEvent event, SubTransactionId subid, SubTransactionId parent,
					 void *arg)
{
	int			i;

	(void) arg;
	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	for (i = 0; i < ANNEX_MAX_CONNECTIONS; i++)
	{
		AnnexConnection *conn = &connections[i];

		if (conn->holder == NULL || conn->subid != subid)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			conn->subid = parent;
		else
			annex_connection_close(conn);
	}
}

void
annex_connections_init(void)
{
	int			i;

	for (i = 0; i < ANNEX_MAX_CONNECTIONS; i++)
		connections[i].fd = -1;
	RegisterXactCallback(transaction_ended, NULL);
	RegisterSubXactCallback(subtransaction_ended, NULL);
}
