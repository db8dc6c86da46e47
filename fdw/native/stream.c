/*
 * stream.c: one request on the wire: frames out and in, credits, waiting.
 *
 * Two pumps: annex_stream_next gives parked results and keeps the server fed while it may;
 * annex_stream_await_credit is for a query that runs to its end. Both always read, also
 * while they want to write: what comes is parked, and credits bound how much that can be. A
 * pushed query is answered after its end, when each frame is taken before the next is read.
 * Nothing is resynchronised after an error: the connection is closed with the scan.
 */
#include "annex.h"

#include "miscadmin.h"

#define END_WAIT_MS 50
#define DEADLINE_GRACE_MS 1000

static void
connection_lost(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("the connection to the pgannex server broke during the request"),
			 errdetail("code: connection_lost"),
			 errhint("the server may have been stopped or restarted: try again")));
}

/* The connection; it is not there after END, nor after the subtransaction that opened it. */
static AnnexConnection *
connected(AnnexStream *stream)
{
	if (stream->conn == NULL)
		connection_lost();
	return stream->conn;
}

static void
server_silent(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("the pgannex server has been silent for %d seconds", ANNEX_SILENCE_MS / 1000),
			 errdetail("code: server_silent"),
			 errhint("is its process stopped? see pgannex doctor")));
}

static void
deadline_passed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg("the pgannex server did not answer within the request's deadline"),
			 errdetail("code: deadline"),
			 errhint("raise pgannex.timeout, or ask for less at once")));
}

/*
 * The other end is gone. What it still said is taken first, an ERROR for example. A
 * connection that died while it was idle is opened again, once, and the request repeated.
 */
static void
connection_gone(AnnexScan *scan)
{
	AnnexConnection *conn = scan->stream.conn;

	while (annex_connection_receive(conn) == IO_DONE)
	{
		annex_take_frames(scan);
		if (scan->stream.conn == NULL)
			return;
	}
	if (!conn->reused || conn->heard || !conn->replayable)
		connection_lost();
	annex_connection_reopen(conn);
}

/* How long to wait at most: until the server counts as silent, or the deadline is over. */
static long
wait_ms(AnnexStream *stream, TimestampTz heard)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = TimestampTzPlusMilliseconds(heard, ANNEX_SILENCE_MS);
	TimestampTz deadline;

	if (now >= until)
		server_silent();
	if (stream->deadline != 0)
	{
		deadline = TimestampTzPlusMilliseconds(stream->deadline, DEADLINE_GRACE_MS);
		if (now >= deadline)
			deadline_passed();
		until = Min(until, deadline);
	}
	return TimestampDifferenceMilliseconds(now, until) + 1;
}

/* Wait until at least one frame came in, or what was queued has left. */
static void
wait_for_server(AnnexScan *scan)
{
	AnnexStream *stream = &scan->stream;
	TimestampTz heard = GetCurrentTimestamp();
	bool		had_output = annex_connection_unsent(connected(stream)) > 0;

	for (;;)
	{
		AnnexIo		io = annex_connection_flush(connected(stream));

		if (io == IO_DONE && had_output)
			return;
		if (io != IO_LOST)
		{
			annex_connection_wait(stream->conn, wait_ms(stream, heard));
			io = annex_connection_receive(stream->conn);
		}
		if (io == IO_LOST)
		{
			connection_gone(scan);
			return;
		}
		if (io == IO_DONE)
		{
			heard = GetCurrentTimestamp();
			if (annex_take_frames(scan))
				return;
		}
	}
}

/* Queue what is written and take what has come, without waiting. */
void
annex_stream_send(AnnexScan *scan)
{
	AnnexStream *stream = &scan->stream;
	AnnexIo		io = annex_connection_flush(connected(stream));

	if (io != IO_LOST && !stream->single)
	{
		io = annex_connection_receive(stream->conn);
		if (io == IO_DONE)
			annex_take_frames(scan);
	}
	if (io == IO_LOST)
		connection_gone(scan);
}

static void
answer_need(AnnexScan *scan)
{
	char	   *hash = scan->stream.need;

	scan->stream.need = NULL;
	annex_artifact_send(scan, hash);
	pfree(hash);
}

/* May one more batch be made? Not while the last one is still on its way out. */
static bool
may_feed(AnnexStream *stream)
{
	return stream->conn != NULL && !stream->input_done && !stream->push &&
		stream->unanswered < stream->conn->window && annex_connection_unsent(stream->conn) == 0;
}

/* OPEN and the first batch leave together. */
void
annex_stream_start(AnnexScan *scan)
{
	AnnexStream *stream = &scan->stream;

	stream->first = stream->last = NULL;
	stream->next_seq = 0;
	stream->need = NULL;
	stream->ended = false;
	stream->push = scan->table->push;
	stream->unanswered = 0;
	stream->input_done = false;
	annex_request_open(scan);
	scan->stats.requests++;
	if (stream->single)
	{
		stream->unanswered = 1;
		stream->input_done = true;
	}
	else if (stream->push)
	{
		annex_stream_send(scan);
		annex_source_push(scan);
		annex_stream_send(scan);
	}
	else
	{
		annex_source_feed(scan);
		annex_stream_send(scan);
	}
}

/* The next frame of results, in the order they came; NULL after the last. */
AnnexRows *
annex_stream_next(AnnexScan *scan)
{
	AnnexStream *stream = &scan->stream;

	for (;;)
	{
		AnnexRows  *rows = stream->first;

		if (stream->need != NULL)
			answer_need(scan);
		if (may_feed(stream))
		{
			annex_source_feed(scan);
			annex_stream_send(scan);
		}
		if (rows != NULL)
		{
			stream->first = rows->next;
			if (stream->first == NULL)
				stream->last = NULL;
			return rows;
		}
		if (stream->ended && stream->first == NULL)
			return NULL;
		if (stream->first == NULL && stream->need == NULL && !may_feed(stream))
			wait_for_server(scan);
	}
}

/* Wait until one more batch may be sent. Results that come meanwhile are parked. */
void
annex_stream_await_credit(AnnexScan *scan)
{
	AnnexStream *stream = &scan->stream;

	while (stream->unanswered >= connected(stream)->window || annex_connection_unsent(stream->conn) > 0)
	{
		if (stream->need != NULL)
			answer_need(scan);
		else
			wait_for_server(scan);
	}
}

/* Wait until all that is queued has left. */
void
annex_stream_drain(AnnexScan *scan)
{
	annex_stream_send(scan);
	while (scan->stream.conn != NULL && annex_connection_unsent(scan->stream.conn) > 0)
		wait_for_server(scan);
}

/* Only END is missing: give it a moment, so that the connection can be kept. */
static void
await_end(AnnexScan *scan)
{
	AnnexStream *stream = &scan->stream;

	if (annex_take_frames(scan) && stream->ended)
		return;
	while (annex_connection_wait(stream->conn, END_WAIT_MS))
	{
		if (annex_connection_receive(stream->conn) == IO_LOST)
			return;
		annex_take_frames(scan);
		if (stream->ended)
			return;
	}
}

/* The executor wants no more rows: keep the connection if the request is over, else close it. */
void
annex_stream_abandon(AnnexScan *scan)
{
	AnnexStream *stream = &scan->stream;

	if (stream->conn != NULL && stream->input_done && stream->unanswered == 0 && !stream->push &&
		annex_connection_unsent(stream->conn) == 0)
		await_end(scan);
	if (stream->conn != NULL)
		annex_connection_close(stream->conn);
	stream->first = stream->last = NULL;
}
