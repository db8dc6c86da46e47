/*
 * frame.h: the wire's bytes, without sockets and without Postgres.
 *
 * PROTOCOL.md as C: cut headers, read payloads with every length checked, write payloads.
 * Only the standard library is used, so that the fuzzer and the golden-vector test compile
 * the very code that runs in a backend. Nothing here raises: a decoder returns NULL, or a
 * text that says what is wrong with the bytes.
 */
#ifndef ANNEX_FRAME_H
#define ANNEX_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_SIZE 12
#define FRAME_MAX (32u * 1024u * 1024u)
#define FRAME_MAJOR 1
#define FRAME_MINOR 0
#define FRAME_DEFAULT_WINDOW 2
#define FRAME_PART_MAX (16u * 1024u * 1024u)

enum
{
	FRAME_HELLO = 0x01,
	FRAME_OPEN = 0x02,
	FRAME_BATCH = 0x03,
	FRAME_DONE = 0x04,
	FRAME_PART = 0x05,
	FRAME_IGNORABLE = 0x40,
	FRAME_WELCOME = 0x81,
	FRAME_ROWS = 0x82,
	FRAME_ERROR = 0x83,
	FRAME_NOTICE = 0x84,
	FRAME_HEARTBEAT = 0x85,
	FRAME_NEED = 0x86,
	FRAME_END = 0x87,
	FRAME_ACK = 0x88
};

/* Flags of OPEN. */
enum
{
	OPEN_SINGLE = 1,
	OPEN_BULK = 2,
	OPEN_UNORDERED = 4,
	OPEN_TEXT_RESULTS = 8,
	OPEN_PUSH = 16
};

/* Flags of BATCH, PART and ROWS. */
enum
{
	FLAG_LAST = 1,
	FLAG_MISSING = 2
};

enum
{
	ENCODING_SEND = 0,
	ENCODING_FIXED = 1,
	ENCODING_FLOAT4S = 2,
	ENCODING_FLOAT8S = 3,
	ENCODING_TEXT = 4
};

typedef struct FrameHeader
{
	uint32_t	length;
	uint8_t		type;
	uint8_t		flags;
	uint32_t	seq;
} FrameHeader;

/* A growing run of bytes; `owner` is handed to frame_resize and means nothing here. */
typedef struct FrameBuffer
{
	char	   *data;
	size_t		len;
	size_t		cap;
	void	   *owner;
} FrameBuffer;

/* Supplied by whoever links this file; never returns NULL. */
extern void *frame_resize(void *owner, void *old, size_t size);

/* Reads a payload from left to right; `bad` sticks once a length did not fit. */
typedef struct FrameCursor
{
	const uint8_t *at;
	const uint8_t *end;
	bool		bad;
} FrameCursor;

/* Text inside a payload, not terminated; a NULL reads as the empty text. */
typedef struct FrameText
{
	const char *data;
	uint32_t	len;
} FrameText;

typedef struct FrameWelcome
{
	uint16_t	major;
	uint16_t	minor;
	uint32_t	window;
	uint32_t	max_frame;
	FrameText	server;
	FrameText	instance;
} FrameWelcome;

typedef struct FrameError
{
	FrameText	code;
	FrameText	sqlstate;
	FrameText	message;
	FrameText	detail;
	FrameText	hint;
	bool		retryable;
} FrameError;

typedef struct FrameNotice
{
	uint8_t		level;
	FrameText	message;
	FrameText	detail;
	FrameText	hint;
} FrameNotice;

typedef struct FrameHeartbeat
{
	uint32_t	ahead;
	uint64_t	rows;
} FrameHeartbeat;

typedef struct FrameEnd
{
	uint64_t	rows;
	uint64_t	tokens;
	uint32_t	batches;
	uint64_t	queue_us;
	uint64_t	compute_us;
	FrameText	engine;
	FrameText	model;
} FrameEnd;

/* One column of a block, and how far frame_next_cell has come in it. */
typedef struct FrameColumn
{
	uint8_t		encoding;
	uint8_t		width;			/* FIXED: bytes per value */
	const uint8_t *nulls;		/* FIXED: bitmap, or NULL where there are none */
	const uint8_t *counts;		/* FLOAT4S, FLOAT8S: next element count */
	const uint8_t *at;			/* next value */
	uint32_t	row;
} FrameColumn;

/* One value of a column. For float arrays `len` is in bytes. */
typedef struct FrameCell
{
	bool		isnull;
	const uint8_t *data;
	uint32_t	len;
} FrameCell;

/* Reading: frame.c. */
extern const char *frame_header(const uint8_t *data, uint32_t max_frame, FrameHeader *header);
extern void frame_cursor(FrameCursor *cursor, const uint8_t *data, size_t len);
extern uint8_t frame_get_u8(FrameCursor *cursor);
extern uint16_t frame_get_u16(FrameCursor *cursor);
extern uint32_t frame_get_u32(FrameCursor *cursor);
extern uint64_t frame_get_u64(FrameCursor *cursor);
extern FrameText frame_get_text(FrameCursor *cursor);
extern const char *frame_welcome(const uint8_t *data, size_t len, FrameWelcome *out);
extern const char *frame_error(const uint8_t *data, size_t len, FrameError *out);
extern const char *frame_notice(const uint8_t *data, size_t len, FrameNotice *out);
extern const char *frame_heartbeat(const uint8_t *data, size_t len, FrameHeartbeat *out);
extern const char *frame_need(const uint8_t *data, size_t len, FrameText *hash);
extern const char *frame_end(const uint8_t *data, size_t len, FrameEnd *out);
extern const char *frame_block(const uint8_t *data, size_t len, uint32_t ncols,
							   FrameColumn *columns, uint32_t *nrows);
extern void frame_next_cell(FrameColumn *column, FrameCell *cell);

/* Writing: frame_put.c. */
extern void frame_reserve(FrameBuffer *buffer, size_t more);
extern void frame_put(FrameBuffer *buffer, const void *data, size_t len);
extern void frame_put_u8(FrameBuffer *buffer, uint8_t value);
extern void frame_put_u16(FrameBuffer *buffer, uint16_t value);
extern void frame_put_u32(FrameBuffer *buffer, uint32_t value);
extern void frame_put_text(FrameBuffer *buffer, const char *text, size_t len);
extern void frame_set_u32(FrameBuffer *buffer, size_t at, uint32_t value);
extern size_t frame_begin(FrameBuffer *buffer, uint8_t type, uint8_t flags, uint32_t seq);
extern size_t frame_finish(FrameBuffer *buffer, size_t start);
extern void frame_put_hello(FrameBuffer *buffer, uint32_t pid, const char *client,
							const char *database, const char *application_name);
extern void frame_put_column(FrameBuffer *buffer, const char *name, uint32_t oid);
extern void frame_put_part(FrameBuffer *buffer, uint32_t seq, uint8_t flags, const char *hash,
						   const void *data, size_t len);

#endif
