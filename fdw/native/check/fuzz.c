/*
 * fuzz.c: feeds broken frames to the code that reads them in a backend.
 *
 * `fuzz DIR [ROUNDS [SEED]]` takes the golden vectors of DIR as seeds and mutates them: bits
 * flipped, lengths overwritten, bytes cut, repeated and spliced in from other frames. Each
 * stream is cut into frames and every payload goes through every decoder, cell by cell, as
 * in a scan. A wrong read is found by a sanitizer (make asan) or by the guard behind each
 * payload. The same seed gives the same frames. Ends in a line of counts.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../frame.h"

#define MAX_SEEDS 64
#define MAX_STREAM 8192
#define MAX_COLUMNS 5

typedef struct Seed
{
	uint8_t    *data;
	size_t		len;
} Seed;

static Seed seeds[MAX_SEEDS];
static int	nseeds;
static uint64_t random_state;
static unsigned long long frames, accepted, refused, cells;
static volatile uint8_t sink;

/* xorshift64*: the same on every machine. */
static uint32_t
draw(uint32_t below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t) ((random_state * 2685821657736338717ULL) >> 33) % below;
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
load_seed(const char *folder, const char *name)
{
	char		path[4096];
	FILE	   *file;
	Seed	   *seed = &seeds[nseeds];
	size_t		len = strlen(name);

	if (len < 4 || strcmp(name + len - 4, ".bin") != 0 || nseeds == MAX_SEEDS)
		return;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "rb");
	if (file == NULL)
		return;
	seed->data = malloc(MAX_STREAM);
	seed->len = fread(seed->data, 1, MAX_STREAM / 4, file);
	fclose(file);
	nseeds++;
}

static void
load_seeds(const char *folder)
{
	struct dirent **names;
	int			count = scandir(folder, &names, NULL, by_name);
	int			i;

	for (i = 0; i < count; i++)
	{
		load_seed(folder, names[i]->d_name);
		free(names[i]);
	}
	if (count >= 0)
		free(names);
	if (nseeds == 0)
	{
		fprintf(stderr, "no vectors in %s\n", folder);
		exit(2);
	}
}

static void
touch(const void *data, size_t len)
{
	const uint8_t *at = data;
	size_t		i;

	for (i = 0; i < len; i++)
		sink ^= at[i];
}

static void
touch_text(FrameText text)
{
	touch(text.data, text.len);
}

/* Read a block as row.c does. */
static int
read_block(const uint8_t *data, size_t len, uint32_t ncols)
{
	FrameColumn columns[MAX_COLUMNS];
	uint32_t	nrows;
	uint32_t	row;
	uint32_t	i;

	if (frame_block(data, len, ncols, columns, &nrows) != NULL)
		return 0;
	for (i = 0; nrows > 0 && i < ncols; i++)
	{
		for (row = 0; row < nrows; row++)
		{
			FrameCell	cell;

			frame_next_cell(&columns[i], &cell);
			cells++;
			if (!cell.isnull)
				touch(cell.data, cell.len);
		}
	}
	return 1;
}

/* Give a payload to every decoder, whatever its frame's type says. */
static void
decode(const uint8_t *data, size_t len)
{
	FrameWelcome welcome;
	FrameError	error;
	FrameNotice notice;
	FrameHeartbeat heartbeat;
	FrameText	hash;
	FrameEnd	end;
	uint32_t	ncols;
	int			good = 0;

	if (frame_welcome(data, len, &welcome) == NULL && ++good)
		touch_text(welcome.instance);
	if (frame_error(data, len, &error) == NULL && ++good)
		touch_text(error.hint);
	if (frame_notice(data, len, &notice) == NULL && ++good)
		touch_text(notice.hint);
	if (frame_need(data, len, &hash) == NULL && ++good)
		touch_text(hash);
	if (frame_end(data, len, &end) == NULL && ++good)
		touch_text(end.model);
	good += frame_heartbeat(data, len, &heartbeat) == NULL;
	for (ncols = 0; ncols <= MAX_COLUMNS; ncols++)
		good += read_block(data, len, ncols);
	accepted += good > 0;
	refused += good == 0;
}

/* Cut a stream into frames. Each payload is copied to memory of just its size. */
static void
read_stream(const uint8_t *data, size_t len)
{
	size_t		at = 0;

	while (len - at >= FRAME_HEADER_SIZE)
	{
		FrameHeader header;
		uint8_t    *payload;

		frames++;
		if (frame_header(data + at, FRAME_MAX, &header) != NULL)
		{
			refused++;
			return;
		}
		if (header.length > len - at - FRAME_HEADER_SIZE)
			return;
		payload = malloc(header.length ? header.length : 1);
		memcpy(payload, data + at + FRAME_HEADER_SIZE, header.length);
		decode(payload, header.length);
		free(payload);
		at += FRAME_HEADER_SIZE + header.length;
	}
}

static void
overwrite_length(uint8_t *data, size_t len)
{
	static const uint32_t lengths[] = {0, 1, 2, 3, 4, 7, 8, 255, 65535, 0x7FFFFFFF, 0x80000000,
		0xFFFFFFFE, 0xFFFFFFFF};
	uint32_t	value = lengths[draw(sizeof(lengths) / sizeof(lengths[0]))];
	size_t		at = draw((uint32_t) len - 3);
	int			i;

	for (i = 0; i < 4; i++)
		data[at + i] = (uint8_t) (value >> (24 - 8 * i));
}

/* Put a piece of another seed over the bytes at a random place. */
static void
splice(uint8_t *data, size_t len)
{
	Seed	   *other = &seeds[draw(nseeds)];
	size_t		from = draw((uint32_t) other->len);
	size_t		to = draw((uint32_t) len);
	size_t		count = draw(32) + 1;

	if (count > other->len - from)
		count = other->len - from;
	if (count > len - to)
		count = len - to;
	memmove(data + to, other->data + from, count);
}

static size_t
mutate(uint8_t *data, size_t len)
{
	switch (draw(6))
	{
		case 0:
			data[draw((uint32_t) len)] ^= (uint8_t) (1 << draw(8));
			return len;
		case 1:
			data[draw((uint32_t) len)] = (uint8_t) draw(256);
			return len;
		case 2:
			overwrite_length(data, len);
			return len;
		case 3:
			splice(data, len);
			return len;
		case 4:
			return len > 16 ? len - draw((uint32_t) len - 15) : len;
		default:
			if (len * 2 <= MAX_STREAM)
			{
				memcpy(data + len, data, len);
				len *= 2;
			}
			return len;
	}
}

/* Half of the streams get an honest length, so that the payload is what is broken. */
static void
mend_header(uint8_t *data, size_t len)
{
	uint32_t	length = (uint32_t) (len - FRAME_HEADER_SIZE);
	int			i;

	for (i = 0; i < 4; i++)
		data[i] = (uint8_t) (length >> (24 - 8 * i));
}

int
main(int argc, char **argv)
{
	unsigned long long rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
	unsigned long long round;
	static uint8_t stream[MAX_STREAM];

	if (argc < 2)
	{
		fprintf(stderr, "usage: fuzz DIR [ROUNDS [SEED]]\n");
		return 2;
	}
	random_state = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	random_state = random_state * 0x9E3779B97F4A7C15ULL + 1;
	load_seeds(argv[1]);
	for (round = 0; round < rounds; round++)
	{
		Seed	   *seed = &seeds[draw(nseeds)];
		size_t		len = seed->len;
		uint32_t	count = draw(6);

		memcpy(stream, seed->data, len);
		while (count-- > 0)
			len = mutate(stream, len);
		if (draw(2))
			mend_header(stream, len);
		read_stream(stream, len);
	}
	printf("fuzz: %llu streams, %llu frames, %llu accepted, %llu refused, %llu cells read, 0 crashes\n",
		   rounds, frames, accepted, refused, cells);
	return 0;
}
