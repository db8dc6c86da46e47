/*
 * answer.c: what each frame of the server means for the request under way.
 *
 * Rows are parked, credits counted, notices passed on, errors raised. Nothing here reads or
 * waits: stream.c calls when bytes have come. Every answer is checked against what was
 * asked, for the other end may be broken.
 */
#include "annex.h"

#define MAX_WINDOW 64

static void
park_rows(AnnexScan *scan, const FrameHeader *header, const uint8 *payload)
{
	AnnexStream *stream = &scan->stream;
	AnnexRows  *rows;

	if (!stream->push && stream->unanswered == 0)
		annex_protocol_error("rows that nothing was sent for");
	/* While a query is pushed nobody takes rows: what came would be parked without bound. */
	if (stream->push && !stream->input_done)
		annex_protocol_error("rows before the end of the pushed query");
	rows = MemoryContextAllocHuge(scan->request_mcxt, offsetof(AnnexRows, payload) + header->length);
	rows->next = NULL;
	rows->flags = header->flags;
	rows->length = header->length;
	memcpy(rows->payload, payload, header->length);
	if (stream->last != NULL)
		stream->last->next = rows;
	else
		stream->first = rows;
	stream->last = rows;
	if ((header->flags & FLAG_LAST) && !stream->push)
		stream->unanswered--;
}

static void
take_ack(AnnexStream *stream)
{
	if (stream->unanswered == 0)
		annex_protocol_error("an ACK for a batch that was not sent");
	stream->unanswered--;
}

static void
take_welcome(AnnexConnection *conn, const FrameHeader *header, const uint8 *payload)
{
	FrameWelcome welcome;
	const char *wrong = frame_welcome(payload, header->length, &welcome);

	if (wrong != NULL)
		annex_protocol_error(wrong);
	if (conn->welcomed)
		annex_protocol_error("WELCOME came twice");
	conn->welcomed = true;
	if (welcome.major != FRAME_MAJOR)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the pgannex server speaks version %u.%u of the protocol, this extension %d.%d",
						welcome.major, welcome.minor, FRAME_MAJOR, FRAME_MINOR),
				 errdetail("code: protocol_violation"),
				 errhint("install the extension and the server from the same release")));
	conn->window = Min(MAX_WINDOW, Max(1, welcome.window));
	conn->max_frame = Min(FRAME_MAX, Max(welcome.max_frame, 1024));
}

static void
take_end(AnnexScan *scan, const FrameHeader *header, const uint8 *payload)
{
	FrameEnd	end;
	const char *wrong = frame_end(payload, header->length, &end);
	AnnexStats *stats = &scan->stats;
	MemoryContext old;

	if (wrong != NULL)
		annex_protocol_error(wrong);
	if (!scan->stream.input_done || (!scan->stream.push && scan->stream.unanswered > 0))
		annex_protocol_error("END before all batches are answered");
	stats->batches += end.batches;
	stats->tokens += end.tokens;
	stats->queue_us += end.queue_us;
	stats->compute_us += end.compute_us;
	if (end.engine.len > 0 && stats->engine == NULL)
	{
		old = MemoryContextSwitchTo(scan->mcxt);
		stats->engine = annex_text(end.engine);
		MemoryContextSwitchTo(old);
	}
	scan->stream.ended = true;
}

static void
take_need(AnnexScan *scan, const FrameHeader *header, const uint8 *payload)
{
	FrameText	hash;
	const char *wrong = frame_need(payload, header->length, &hash);
	MemoryContext old;

	if (wrong != NULL)
		annex_protocol_error(wrong);
	if (scan->stream.need != NULL)
		annex_protocol_error("NEED while another one is being answered");
	old = MemoryContextSwitchTo(scan->request_mcxt);
	scan->stream.need = annex_text(hash);
	MemoryContextSwitchTo(old);
}

static void
take_error(AnnexScan *scan, const FrameHeader *header, const uint8 *payload)
{
	FrameError	error;
	uint8	   *copy = palloc(Max(header->length, 1));
	const char *wrong;

	/* The connection's buffer goes with the connection. */
	memcpy(copy, payload, header->length);
	wrong = frame_error(copy, header->length, &error);
	annex_connection_close(scan->stream.conn);
	if (wrong != NULL)
		annex_protocol_error(wrong);
	annex_raise(&error);
}

static void
take_notice(const FrameHeader *header, const uint8 *payload)
{
	FrameNotice notice;
	const char *wrong = frame_notice(payload, header->length, &notice);

	if (wrong != NULL)
		annex_protocol_error(wrong);
	annex_notice(&notice);
}

static void
take_heartbeat(const FrameHeader *header, const uint8 *payload)
{
	FrameHeartbeat heartbeat;
	const char *wrong = frame_heartbeat(payload, header->length, &heartbeat);

	if (wrong != NULL)
		annex_protocol_error(wrong);
}

static void
take_frame(AnnexScan *scan, const FrameHeader *header, const uint8 *payload)
{
	switch (header->type)
	{
		case FRAME_ROWS:
			park_rows(scan, header, payload);
			break;
		case FRAME_END:
			take_end(scan, header, payload);
			break;
		case FRAME_ACK:
			take_ack(&scan->stream);
			break;
		case FRAME_WELCOME:
			take_welcome(scan->stream.conn, header, payload);
			break;
		case FRAME_ERROR:
			take_error(scan, header, payload);
			break;
		case FRAME_NOTICE:
			take_notice(header, payload);
			break;
		case FRAME_NEED:
			take_need(scan, header, payload);
			break;
		case FRAME_HEARTBEAT:
			take_heartbeat(header, payload);
			break;
		default:
			if (!(header->type & FRAME_IGNORABLE))
				annex_protocol_error("a frame of an unknown type");
	}
}

/* Take every whole frame that is buffered. True if there was one. */
bool
annex_take_frames(AnnexScan *scan)
{
	AnnexStream *stream = &scan->stream;
	FrameHeader header;
	const uint8 *payload;
	bool		any = false;

	while (!stream->ended && annex_connection_frame(stream->conn, &header, &payload))
	{
		take_frame(scan, &header, payload);
		any = true;
	}
	if (stream->ended)
		annex_connection_release(stream->conn);
	return any;
}
