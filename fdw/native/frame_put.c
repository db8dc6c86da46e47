/*
 * frame_put.c: writing the wire's bytes (see frame.h). Knows neither sockets nor Postgres.
 *
 * A buffer grows by doubling; its memory comes from whoever links this file. Reading is
 * frame.c's business.
 */
#include "frame.h"

#include <string.h>

static void
store_u32(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t) (value >> 24);
	p[1] = (uint8_t) (value >> 16);
	p[2] = (uint8_t) (value >> 8);
	p[3] = (uint8_t) value;
}

/* Make room for `more` bytes behind `len`. */
void
frame_reserve(FrameBuffer *buffer, size_t more)
{
	size_t		cap = buffer->cap ? buffer->cap : 256;

	if (buffer->len + more <= buffer->cap)
		return;
	while (cap < buffer->len + more)
		cap *= 2;
	buffer->data = frame_resize(buffer->owner, buffer->data, cap);
	buffer->cap = cap;
}

void
frame_put(FrameBuffer *buffer, const void *data, size_t len)
{
	frame_reserve(buffer, len);
	if (len > 0)
		memcpy(buffer->data + buffer->len, data, len);
	buffer->len += len;
}

void
frame_put_u8(FrameBuffer *buffer, uint8_t value)
{
	frame_put(buffer, &value, 1);
}

void
frame_put_u16(FrameBuffer *buffer, uint16_t value)
{
	uint8_t		bytes[2] = {(uint8_t) (value >> 8), (uint8_t) value};

	frame_put(buffer, bytes, 2);
}

void
frame_put_u32(FrameBuffer *buffer, uint32_t value)
{
	uint8_t		bytes[4];

	store_u32(bytes, value);
	frame_put(buffer, bytes, 4);
}

void
frame_put_text(FrameBuffer *buffer, const char *text, size_t len)
{
	frame_put_u32(buffer, (uint32_t) len);
	frame_put(buffer, text, len);
}

/* Overwrite a length that was not known when its place was written. */
void
frame_set_u32(FrameBuffer *buffer, size_t at, uint32_t value)
{
	store_u32((uint8_t *) buffer->data + at, value);
}

/* Start a frame; give its place to frame_finish when the payload is written. */
size_t
frame_begin(FrameBuffer *buffer, uint8_t type, uint8_t flags, uint32_t seq)
{
	size_t		start = buffer->len;

	frame_put_u32(buffer, 0);
	frame_put_u8(buffer, type);
	frame_put_u8(buffer, flags);
	frame_put_u16(buffer, 0);
	frame_put_u32(buffer, seq);
	return start;
}

/* Write the frame's length into its header; returns the payload's size. */
size_t
frame_finish(FrameBuffer *buffer, size_t start)
{
	size_t		size = buffer->len - start - FRAME_HEADER_SIZE;

	frame_set_u32(buffer, start, (uint32_t) size);
	return size;
}

static void
put_string(FrameBuffer *buffer, const char *text)
{
	frame_put_text(buffer, text, strlen(text));
}

void
frame_put_hello(FrameBuffer *buffer, uint32_t pid, const char *client, const char *database,
				const char *application_name)
{
	size_t		start = frame_begin(buffer, FRAME_HELLO, 0, 0);

	frame_put_u16(buffer, FRAME_MAJOR);
	frame_put_u16(buffer, FRAME_MINOR);
	frame_put_u32(buffer, pid);
	put_string(buffer, client);
	put_string(buffer, database);
	put_string(buffer, application_name);
	frame_finish(buffer, start);
}

/* A batch column or a wanted output of OPEN. */
void
frame_put_column(FrameBuffer *buffer, const char *name, uint32_t oid)
{
	put_string(buffer, name);
	frame_put_u32(buffer, oid);
}

void
frame_put_part(FrameBuffer *buffer, uint32_t seq, uint8_t flags, const char *hash,
			   const void *data, size_t len)
{
	size_t		start = frame_begin(buffer, FRAME_PART, flags, seq);

	put_string(buffer, hash);
	frame_put(buffer, data, len);
	frame_finish(buffer, start);
}
