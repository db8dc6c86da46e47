/*
 * frame.c: reading the wire's bytes (see frame.h). Knows neither sockets nor Postgres.
 *
 * What came over the wire is believed only after a check against the payload's end; a
 * block is walked once as a whole by frame_block, so that frame_next_cell may run over it
 * without looking again.
 */
#include "frame.h"

#include <string.h>

#define NULL_LENGTH 0xFFFFFFFFu

static uint16_t
load_u16(const uint8_t *p)
{
	return (uint16_t) ((p[0] << 8) | p[1]);
}

static uint32_t
load_u32(const uint8_t *p)
{
	return ((uint32_t) p[0] << 24) | ((uint32_t) p[1] << 16) | ((uint32_t) p[2] << 8) | p[3];
}

/* Read the header in the first 12 bytes of `data`. */
const char *
frame_header(const uint8_t *data, uint32_t max_frame, FrameHeader *header)
{
	header->length = load_u32(data);
	header->type = data[4];
	header->flags = data[5];
	header->seq = load_u32(data + 8);
	return header->length > max_frame ? "a frame is longer than the limit" : NULL;
}

void
frame_cursor(FrameCursor *cursor, const uint8_t *data, size_t len)
{
	cursor->at = data;
	cursor->end = data + len;
	cursor->bad = false;
}

/* Step over `len` bytes; NULL, and `bad`, where the payload has fewer left. */
static const uint8_t *
take(FrameCursor *cursor, size_t len)
{
	const uint8_t *at = cursor->at;

	if (cursor->bad || (size_t) (cursor->end - at) < len)
	{
		cursor->bad = true;
		return NULL;
	}
	cursor->at = at + len;
	return at;
}

uint8_t
frame_get_u8(FrameCursor *cursor)
{
	const uint8_t *p = take(cursor, 1);

	return p ? *p : 0;
}

uint16_t
frame_get_u16(FrameCursor *cursor)
{
	const uint8_t *p = take(cursor, 2);

	return p ? load_u16(p) : 0;
}

uint32_t
frame_get_u32(FrameCursor *cursor)
{
	const uint8_t *p = take(cursor, 4);

	return p ? load_u32(p) : 0;
}

uint64_t
frame_get_u64(FrameCursor *cursor)
{
	const uint8_t *p = take(cursor, 8);

	return p ? ((uint64_t) load_u32(p) << 32) | load_u32(p + 4) : 0;
}

FrameText
frame_get_text(FrameCursor *cursor)
{
	FrameText	text = {"", 0};
	uint32_t	len = frame_get_u32(cursor);
	const uint8_t *p;

	if (len == NULL_LENGTH)
		return text;
	p = take(cursor, len);
	if (p != NULL)
	{
		text.data = (const char *) p;
		text.len = len;
	}
	return text;
}

/* Trailing fields are a newer minor's and are skipped, so only `bad` is an error. */
static const char *
verdict(const FrameCursor *cursor, const char *what)
{
	return cursor->bad ? what : NULL;
}

const char *
frame_welcome(const uint8_t *data, size_t len, FrameWelcome *out)
{
	FrameCursor cursor;

	frame_cursor(&cursor, data, len);
	out->major = frame_get_u16(&cursor);
	out->minor = frame_get_u16(&cursor);
	out->window = frame_get_u32(&cursor);
	out->max_frame = frame_get_u32(&cursor);
	out->server = frame_get_text(&cursor);
	out->instance = frame_get_text(&cursor);
	return verdict(&cursor, "a WELCOME frame ends early");
}

const char *
frame_error(const uint8_t *data, size_t len, FrameError *out)
{
	FrameCursor cursor;

	frame_cursor(&cursor, data, len);
	out->code = frame_get_text(&cursor);
	out->sqlstate = frame_get_text(&cursor);
	out->message = frame_get_text(&cursor);
	out->detail = frame_get_text(&cursor);
	out->hint = frame_get_text(&cursor);
	out->retryable = frame_get_u8(&cursor) != 0;
	return verdict(&cursor, "an ERROR frame ends early");
}

const char *
frame_notice(const uint8_t *data, size_t len, FrameNotice *out)
{
	FrameCursor cursor;

	frame_cursor(&cursor, data, len);
	out->level = frame_get_u8(&cursor);
	out->message = frame_get_text(&cursor);
	out->detail = frame_get_text(&cursor);
	out->hint = frame_get_text(&cursor);
	return verdict(&cursor, "a NOTICE frame ends early");
}

const char *
frame_heartbeat(const uint8_t *data, size_t len, FrameHeartbeat *out)
{
	FrameCursor cursor;

	frame_cursor(&cursor, data, len);
	out->ahead = frame_get_u32(&cursor);
	out->rows = frame_get_u64(&cursor);
	return verdict(&cursor, "a HEARTBEAT frame ends early");
}

const char *
frame_need(const uint8_t *data, size_t len, FrameText *hash)
{
	FrameCursor cursor;

	frame_cursor(&cursor, data, len);
	*hash = frame_get_text(&cursor);
	return verdict(&cursor, "a NEED frame ends early");
}

const char *
frame_end(const uint8_t *data, size_t len, FrameEnd *out)
{
	FrameCursor cursor;

	frame_cursor(&cursor, data, len);
	out->rows = frame_get_u64(&cursor);
	out->tokens = frame_get_u64(&cursor);
	out->batches = frame_get_u32(&cursor);
	out->queue_us = frame_get_u64(&cursor);
	out->compute_us = frame_get_u64(&cursor);
	out->engine = frame_get_text(&cursor);
	out->model = frame_get_text(&cursor);
	return verdict(&cursor, "an END frame ends early");
}

/* SEND and TEXT: a length and bytes for each row. */
static const char *
check_values(FrameColumn *column, const uint8_t *data, size_t len, uint32_t nrows)
{
	FrameCursor cursor;
	uint32_t	row;

	frame_cursor(&cursor, data, len);
	for (row = 0; row < nrows && !cursor.bad; row++)
	{
		uint32_t	size = frame_get_u32(&cursor);

		/* A negative length other than -1 is above any frame, so take() refuses it. */
		if (size != NULL_LENGTH)
			take(&cursor, size);
	}
	if (cursor.bad)
		return "a value is longer than its column";
	if (cursor.at != cursor.end)
		return "bytes follow a column's last value";
	column->at = data;
	return NULL;
}

/* FIXED: a width, perhaps a bitmap, then values of that width. */
static const char *
check_fixed(FrameColumn *column, const uint8_t *data, size_t len, uint32_t nrows)
{
	size_t		start = 2;

	if (len < 2)
		return "a FIXED column is shorter than its head";
	column->width = data[0];
	if (column->width != 1 && column->width != 2 && column->width != 4 && column->width != 8)
		return "a FIXED column has a width other than 1, 2, 4 or 8";
	if (data[1] > 1)
		return "a FIXED column has a bad NULL flag";
	if (data[1])
	{
		column->nulls = data + 2;
		start += ((size_t) nrows + 7) / 8;
	}
	if ((uint64_t) start + (uint64_t) nrows * column->width != len)
		return "a FIXED column has the wrong length";
	column->at = data + start;
	return NULL;
}

/* FLOAT4S and FLOAT8S: an element count for each row, then all elements. */
static const char *
check_floats(FrameColumn *column, const uint8_t *data, size_t len, uint32_t nrows)
{
	uint64_t	width = column->encoding == ENCODING_FLOAT4S ? 4 : 8;
	uint64_t	total = (uint64_t) nrows * 4;
	uint32_t	row;

	if (total > len)
		return "a column of float arrays is shorter than its counts";
	for (row = 0; row < nrows; row++)
	{
		uint32_t	count = load_u32(data + (size_t) row * 4);

		if (count != NULL_LENGTH)
			total += width * count;
	}
	if (total != len)
		return "a column of float arrays has counts that do not fit";
	column->counts = data;
	column->at = data + (size_t) nrows * 4;
	return NULL;
}

static const char *
check_column(FrameColumn *column, const uint8_t *data, size_t len, uint32_t nrows)
{
	switch (column->encoding)
	{
		case ENCODING_SEND:
		case ENCODING_TEXT:
			return check_values(column, data, len, nrows);
		case ENCODING_FIXED:
			return check_fixed(column, data, len, nrows);
		case ENCODING_FLOAT4S:
		case ENCODING_FLOAT8S:
			return check_floats(column, data, len, nrows);
		default:
			return "a column has an unknown encoding";
	}
}

/*
 * Check a whole column block that must have `ncols` columns and set each column's cursor
 * to its first value.
 */
const char *
frame_block(const uint8_t *data, size_t len, uint32_t ncols, FrameColumn *columns, uint32_t *nrows)
{
	FrameCursor cursor;
	uint32_t	i;

	frame_cursor(&cursor, data, len);
	*nrows = frame_get_u32(&cursor);
	i = frame_get_u16(&cursor);
	if (cursor.bad)
		return "a column block is shorter than its head";
	/* A block without rows may leave its columns out. */
	if (i == 0 && *nrows == 0)
		return cursor.at == cursor.end ? NULL : "bytes follow an empty column block";
	if (i != ncols)
		return "a column block has a number of columns other than the one asked for";
	for (i = 0; i < ncols; i++)
	{
		FrameColumn *column = &columns[i];
		const uint8_t *body;
		const char *wrong;
		uint32_t	size;

		memset(column, 0, sizeof(*column));
		column->encoding = frame_get_u8(&cursor);
		size = frame_get_u32(&cursor);
		body = take(&cursor, size);
		if (body == NULL)
			return "a column is longer than its block";
		wrong = check_column(column, body, size, *nrows);
		if (wrong != NULL)
			return wrong;
	}
	return cursor.at == cursor.end ? NULL : "bytes follow the last column of a block";
}

/* Give the column's next value. The caller counts rows: there are `nrows` of them. */
void
frame_next_cell(FrameColumn *column, FrameCell *cell)
{
	uint32_t	row = column->row++;

	cell->isnull = false;
	switch (column->encoding)
	{
		case ENCODING_FIXED:
			cell->isnull = column->nulls != NULL && (column->nulls[row >> 3] >> (row & 7) & 1);
			cell->len = column->width;
			cell->data = column->at;
			column->at += column->width;
			return;
		case ENCODING_FLOAT4S:
		case ENCODING_FLOAT8S:
			cell->len = load_u32(column->counts);
			column->counts += 4;
			cell->isnull = cell->len == NULL_LENGTH;
			if (cell->isnull)
				cell->len = 0;
			cell->len *= column->encoding == ENCODING_FLOAT4S ? 4 : 8;
			break;
		default:
			cell->len = load_u32(column->at);
			column->at += 4;
			cell->isnull = cell->len == NULL_LENGTH;
			if (cell->isnull)
				cell->len = 0;
	}
	cell->data = column->at;
	column->at += cell->len;
}
