/*
 * vectors.c: does frame.c write and read the golden vectors, byte for byte?
 *
 * `vectors DIR` encodes what the client sends and compares it with DIR/NAME.bin, decodes
 * what the server sends and compares the fields with those that tools/make_wire_vectors.py
 * put in. Ends in a line of counts; exit code 1 if anything differs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../frame.h"

static const char *folder;
static int	checks;
static int	failures;

static void
check(int ok, const char *vector, const char *what)
{
	checks++;
	if (ok)
		return;
	failures++;
	printf("%s: %s differs\n", vector, what);
}

/* A whole vector; its payload starts behind the header. */
static uint8_t *
load(const char *name, size_t *len)
{
	char		path[4096];
	uint8_t    *data = malloc(65536);
	FILE	   *file;

	snprintf(path, sizeof(path), "%s/%s.bin", folder, name);
	file = fopen(path, "rb");
	if (file == NULL || data == NULL)
	{
		fprintf(stderr, "cannot read %s\n", path);
		exit(2);
	}
	*len = fread(data, 1, 65536, file);
	fclose(file);
	return data;
}

static void
same_bytes(const char *name, FrameBuffer *written)
{
	size_t		len;
	uint8_t    *golden = load(name, &len);

	check(len == written->len && memcmp(golden, written->data, len) == 0, name, "what is written");
	free(golden);
	free(written->data);
	memset(written, 0, sizeof(*written));
}

static int
is(FrameText text, const char *expected)
{
	return text.len == strlen(expected) && memcmp(text.data, expected, text.len) == 0;
}

static void
put_string(FrameBuffer *out, const char *text)
{
	frame_put_text(out, text, strlen(text));
}

static void
put_arg(FrameBuffer *out, const char *name, uint32_t oid, uint8_t format, const char *value)
{
	frame_put_column(out, name, oid);
	frame_put_u8(out, format);
	if (value == NULL)
		frame_put_u32(out, 0xFFFFFFFF);
	else
		put_string(out, value);
}

static void
open_head(FrameBuffer *out, uint32_t deadline, const char *role, const char *grant)
{
	frame_put_u32(out, deadline);
	put_string(out, "embed");
	put_string(out, role);
	put_string(out, grant);
}

static void
write_opens(void)
{
	FrameBuffer out = {0};
	size_t		start = frame_begin(&out, FRAME_OPEN, OPEN_SINGLE, 0);

	open_head(&out, 60000, "alice", "{\"see_all\": false}");
	frame_put_u16(&out, 4);
	put_arg(&out, "model", 25, 0, "echo");
	put_arg(&out, "input", 25, 0, "na\xc3\xafve caf\xc3\xa9 \xf0\x9f\x90\x98");
	put_arg(&out, "kwargs", 3802, 0, "\x01{\"normalize\": true}");
	put_arg(&out, "on_error", 25, 0, NULL);
	frame_put_u16(&out, 0);
	frame_put_u16(&out, 1);
	frame_put_column(&out, "embedding", 1021);
	frame_finish(&out, start);
	same_bytes("open_single", &out);

	start = frame_begin(&out, FRAME_OPEN, OPEN_BULK | OPEN_UNORDERED, 0);
	open_head(&out, 0, "bulk role", "");
	frame_put_u16(&out, 1);
	put_arg(&out, "model", 25, 1, "echo");
	frame_put_u16(&out, 2);
	frame_put_column(&out, "key", 25);
	frame_put_column(&out, "input", 25);
	frame_put_u16(&out, 2);
	frame_put_column(&out, "key", 25);
	frame_put_column(&out, "embedding", 1021);
	frame_finish(&out, start);
	same_bytes("open_stream", &out);
}

static void
put_data(FrameBuffer *out, uint8_t encoding, const void *data, uint32_t len)
{
	frame_put_u8(out, encoding);
	frame_put_u32(out, len);
	frame_put(out, data, len);
}

static void
write_batches(void)
{
	FrameBuffer out = {0};
	size_t		start = frame_begin(&out, FRAME_BATCH, FLAG_LAST, 7);

	frame_put_u32(&out, 3);
	frame_put_u16(&out, 3);
	put_data(&out, ENCODING_SEND, "\0\0\0\3one\xff\xff\xff\xff\0\0\0\0", 15);
	put_data(&out, ENCODING_FIXED, "\1\0\1\0\1", 5);
	put_data(&out, ENCODING_FLOAT8S,
			 "\0\0\0\2\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\xe0\x3f\0\0\0\0\0\0\xd0\xbf", 28);
	frame_finish(&out, start);
	same_bytes("batch", &out);

	start = frame_begin(&out, FRAME_BATCH, 0, 8);
	frame_put_u32(&out, 2);
	frame_put_u16(&out, 1);
	put_data(&out, ENCODING_TEXT, "\0\0\0\5{1,2}\xff\xff\xff\xff", 13);
	frame_finish(&out, start);
	same_bytes("batch_text", &out);
}

static void
write_others(void)
{
	FrameBuffer out = {0};

	frame_put_hello(&out, 4711, "pgml/0.1.0 native postgres/180001", "db", "psql");
	same_bytes("hello", &out);
	frame_finish(&out, frame_begin(&out, FRAME_DONE, 0, 0));
	same_bytes("done", &out);
	frame_put_part(&out, 1, FLAG_LAST, "00ff", "\0\1bytes", 7);
	same_bytes("part", &out);
	frame_put_part(&out, 0, FLAG_LAST | FLAG_MISSING, "00ff", NULL, 0);
	same_bytes("part_missing", &out);
}

/* The payload of a vector whose header must be as given. */
static uint8_t *
payload_of(const char *name, uint8_t type, uint8_t flags, uint32_t seq, size_t *len)
{
	uint8_t    *data = load(name, len);
	FrameHeader header;

	check(frame_header(data, FRAME_MAX, &header) == NULL, name, "its length");
	*len -= FRAME_HEADER_SIZE;
	check(header.length == *len && header.type == type && header.flags == flags &&
		  header.seq == seq, name, "its header");
	return data;
}

static void
read_welcome(void)
{
	size_t		len;
	uint8_t    *data = payload_of("welcome", FRAME_WELCOME, 0, 0, &len);
	FrameWelcome welcome;

	check(frame_welcome(data + FRAME_HEADER_SIZE, len, &welcome) == NULL, "welcome", "its form");
	check(welcome.major == 1 && welcome.minor == 0 && welcome.window == 16 &&
		  welcome.max_frame == FRAME_MAX && is(welcome.server, "pgannex/0.1.0") &&
		  is(welcome.instance, "a1b2"), "welcome", "what is read");
	free(data);
}

static void
read_error_and_notice(void)
{
	size_t		len;
	uint8_t    *data = payload_of("error", FRAME_ERROR, 0, 0, &len);
	FrameError	error;
	FrameNotice notice;

	check(frame_error(data + FRAME_HEADER_SIZE, len, &error) == NULL, "error", "its form");
	check(is(error.code, "unknown_model") && is(error.sqlstate, "XX000") &&
		  is(error.message, "model \"x\" is unknown") && is(error.detail, "asked by embed") &&
		  is(error.hint, "known models: echo") && !error.retryable, "error", "what is read");
	free(data);
	data = payload_of("notice", FRAME_NOTICE, 0, 0, &len);
	check(frame_notice(data + FRAME_HEADER_SIZE, len, &notice) == NULL, "notice", "its form");
	check(notice.level == 2 && is(notice.message, "loading") && is(notice.detail, "first use") &&
		  is(notice.hint, "pin it"), "notice", "what is read");
	free(data);
}

static void
read_others(void)
{
	size_t		len;
	uint8_t    *data = payload_of("heartbeat", FRAME_HEARTBEAT, 0, 0, &len);
	FrameHeartbeat heartbeat;
	FrameText	hash;
	FrameEnd	end;

	check(frame_heartbeat(data + FRAME_HEADER_SIZE, len, &heartbeat) == NULL &&
		  heartbeat.ahead == 3 && heartbeat.rows == 12345678901ULL, "heartbeat", "what is read");
	free(data);
	data = payload_of("need", FRAME_NEED, 0, 0, &len);
	check(frame_need(data + FRAME_HEADER_SIZE, len, &hash) == NULL && is(hash, "00ff"),
		  "need", "what is read");
	free(data);
	data = payload_of("end", FRAME_END, 0, 0, &len);
	check(frame_end(data + FRAME_HEADER_SIZE, len, &end) == NULL && end.rows == 3 &&
		  end.tokens == 12 && end.batches == 1 && end.queue_us == 150 && end.compute_us == 900 &&
		  is(end.engine, "torch cpu bfloat16") && is(end.model, "echo@1"), "end", "what is read");
	free(data);
	data = payload_of("ack", FRAME_ACK, 0, 7, &len);
	check(len == 0, "ack", "its length");
	free(data);
}

static int
cell_is(FrameColumn *column, const void *data, uint32_t len)
{
	FrameCell	cell;

	frame_next_cell(column, &cell);
	if (data == NULL)
		return cell.isnull;
	return !cell.isnull && cell.len == len && memcmp(cell.data, data, len) == 0;
}

static void
read_rows(void)
{
	size_t		len;
	uint8_t    *data = payload_of("rows", FRAME_ROWS, FLAG_LAST, 7, &len);
	FrameColumn columns[3];
	uint32_t	nrows = 0;

	check(frame_block(data + FRAME_HEADER_SIZE, len, 3, columns, &nrows) == NULL && nrows == 3,
		  "rows", "its form");
	check(cell_is(&columns[0], "one", 3) && cell_is(&columns[0], NULL, 0) &&
		  cell_is(&columns[0], "", 0), "rows", "its texts");
	check(cell_is(&columns[1], "\0\0\x80\x3f\0\0\0\x40", 8) &&
		  cell_is(&columns[1], "\0\0\x40\x40\0\0\x80\x40", 8) &&
		  cell_is(&columns[1], "\0\0\xa0\x40\0\0\xc0\x40", 8), "rows", "its vectors");
	check(cell_is(&columns[2], "\1\0\0\0", 4) && cell_is(&columns[2], NULL, 0) &&
		  cell_is(&columns[2], "\xfd\xff\xff\xff", 4), "rows", "its numbers");
	free(data);
	data = payload_of("rows_none", FRAME_ROWS, FLAG_LAST, 9, &len);
	check(frame_block(data + FRAME_HEADER_SIZE, len, 3, columns, &nrows) == NULL && nrows == 0,
		  "rows_none", "its form");
	free(data);
}

int
main(int argc, char **argv)
{
	if (argc != 2)
	{
		fprintf(stderr, "usage: vectors DIR\n");
		return 2;
	}
	folder = argv[1];
	write_opens();
	write_batches();
	write_others();
	read_welcome();
	read_error_and_notice();
	read_others();
	read_rows();
	printf("vectors: %d checks, %d failed\n", checks, failures);
	return failures > 0;
}
